use proptest::prelude::*;

use super::key_file::open_file;
use super::*;

fn key() -> MasterKey {
    MasterKey::from_bytes(&std::array::from_fn(|i| u8::try_from(i).unwrap() + 1)).unwrap()
}

proptest! {
    #[test]
    fn what_is_sealed_opens_to_the_same(plain in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let key = key();
        let sealed = key.seal(&plain).unwrap();
        prop_assert_eq!(sealed.len(), plain.len() + OVERHEAD);
        prop_assert_eq!(key.open(&sealed).unwrap(), plain);
    }

    #[test]
    fn any_changed_byte_is_noticed(plain in proptest::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, flip in 1u8..) {
        let key = key();
        let mut sealed = key.seal(&plain).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert_eq!(key.open(&sealed).unwrap_err(), CryptoError::Unauthenticated);
    }
}

#[test]
fn truncated_content_is_refused() {
    let key = key();
    let sealed = key.seal(b"content").unwrap();
    for length in 0..sealed.len() {
        assert!(key.open(&sealed[..length]).is_err(), "{length} bytes were accepted");
    }
}

#[test]
fn two_seals_of_the_same_content_differ() {
    let key = key();
    assert_ne!(key.seal(b"content").unwrap(), key.seal(b"content").unwrap());
}

#[test]
fn the_counter_carries_over_all_128_bits() {
    let key = key();
    let iv = [0xff; 16];
    let mut stream = vec![0; 64];
    key.apply_cipher(&iv, &mut stream).unwrap();
    let block = EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, &key.bytes[..32]).unwrap()).unwrap();
    let mut counter = u128::from_be_bytes(iv);
    for part in stream.chunks(16) {
        let mut expected = counter.to_be_bytes();
        block.less_safe_encrypt(&mut expected, EncryptionContext::None).unwrap();
        assert_eq!(part, expected);
        counter = counter.wrapping_add(1);
    }
}

/// The first vector of the Poly1305-AES paper (D. J. Bernstein 2005, appendix B), whose message is `f3 f6`.
#[test]
fn the_authentication_code_is_that_of_the_poly1305_aes_paper() {
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let mut bytes = [7; 64];
    bytes[32..48].copy_from_slice(&hex("ec074c835580741701425b623235add6"));
    bytes[48..].copy_from_slice(&hex("851fc40c3467ac0be05cc20404f3f700"));
    let key = MasterKey::from_bytes(&bytes).unwrap();
    let nonce = hex("fb447350c4e868c52ac3275cf9d4327e").try_into().unwrap();
    let mac = key.authenticate(&nonce, &hex("f3f6")).unwrap();
    assert_eq!(mac.to_vec(), hex("f4c633c3044fc145f84f335cb81953de"));
}

#[test]
fn a_key_with_an_empty_part_is_refused() {
    for part in [0..32, 32..48, 48..64] {
        let mut bytes = [1; 64];
        bytes[part].fill(0);
        assert!(matches!(MasterKey::from_bytes(&bytes), Err(CryptoError::EmptyKey)));
    }
}

#[test]
fn a_key_file_opens_with_its_password_only() {
    let key = key();
    let file = KeyFile::export(&key, "correct horse", jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(file.name, crate::FileId::of(&file.bytes));
    let opened = open_file(&file.bytes, "correct horse").unwrap();
    assert!(*opened.bytes == *key.bytes);
    assert!(matches!(
        open_file(&file.bytes, "wrong"),
        Err(KeyFileError::Crypto(CryptoError::Unauthenticated))
    ));
}

#[test]
fn a_key_file_can_not_ask_for_absurd_work() {
    let file = KeyFile::export(&key(), "x", jiff::Timestamp::UNIX_EPOCH).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&file.bytes).unwrap();
    let with = |field: &str, value: u64| {
        let mut json = json.clone();
        json[field] = value.into();
        open_file(&serde_json::to_vec(&json).unwrap(), "x").err().unwrap()
    };
    assert!(matches!(with("N", 1 << 40), KeyFileError::Excessive { .. }));
    assert!(matches!(with("r", 1 << 20), KeyFileError::Excessive { .. }));
    assert!(matches!(with("p", 1000), KeyFileError::Excessive { .. }));
    assert!(matches!(with("N", 1000), KeyFileError::Malformed(_)));
    assert!(matches!(with("N", 2), KeyFileError::Malformed(_)));
    assert!(matches!(with("p", 0), KeyFileError::Malformed(_)));
    assert!(matches!(open_file(b"{}", "x").err().unwrap(), KeyFileError::Malformed(_)));
}
