use data_encoding::HEXLOWER;

use super::*;
use crate::identity::Identity;

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn check_rfc_5869(ikm: &[u8], salt: &[u8], info: &[u8], expected: &str) {
    let mut output = vec![0; expected.len() / 2];
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut output).unwrap();
    assert_eq!(HEXLOWER.encode(&output), expected);
}

/// A computer whose phrase stands for the bytes 0, 1, 2 ... 31.
fn secrets() -> DerivedSecrets {
    let entropy: Vec<u8> = (0..32).collect();
    RecoveryPhrase::from_entropy(entropy.try_into().unwrap()).derive()
}

#[test]
fn the_published_vectors_of_rfc_5869_pass() {
    let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    check_rfc_5869(
        &[0x0b; 22],
        &range(0x00, 0x0c),
        &range(0xf0, 0xf9),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    );
    check_rfc_5869(
        &range(0x00, 0x4f),
        &range(0x60, 0xaf),
        &range(0xb0, 0xff),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
         da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    );
    check_rfc_5869(
        &[0x0b; 22],
        &[],
        &[],
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    );
}

// The values were computed by another program. If this test fails, every existing computer would lose its friends and
// archives with the next update.
#[test]
fn the_keys_of_a_phrase_never_change() {
    let secrets = secrets();
    let check = |key: &[u8], expected: &str| assert_eq!(HEXLOWER.encode(key), expected);
    check(secrets.identity.as_bytes(), "ece41751b5cff90b9c13f15fdde81db351b5e8e9f08dfc8ae881eaaf29d57d28");
    check(secrets.dial_in.as_bytes(), "b9cf609d6f1503ef9e383719bd34eac2423d33086f2141a49dccc563ece3858e");
    check(
        secrets.dial_in.key(0).as_bytes(),
        "2ab218325634c3d0e28dde7456ab1163ddbe80ed9fd2cdc97c7611365b88dd50",
    );
    check(
        secrets.dial_in.key(1).as_bytes(),
        "1debeda3e88944f89886802b194244773cf9fe641c404a55b4ba8e394edd8c5a",
    );
    check(secrets.state.as_bytes(), "3512bc8adddaaec894fa7166ebe11c17a86c175596532d1253f5bbff38736c02");
    check(secrets.chunker.as_bytes(), "298a54ad53cac8f2409834ca1877a2fcb34a85425a6d16e837a3c815873b5adb");
    check(
        secrets.archive_root.as_bytes(),
        "7206af61959960ae48fd88c9158cf7a154d27b86a55855cc4d69eaa358c58c1b",
    );
    let archive = ArchiveId::from_bytes(hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap());
    check(
        secrets.archive_root.master_key(&archive).as_bytes(),
        "30638087768352261b4b17afb0ae8855918bd58fed8064a50936313f54b8c68d\
         1b4d074bf49bc0382f50a77dec2e46a22375f228c06946cc8ae3123d2324ed0f",
    );
    let identity = Identity::from_seed(&secrets.identity).unwrap();
    check(
        &identity.spki(),
        "302a300506032b657003210062042b3682ec1b10afe34274dee6c289704f7d6ea14e5d7d1f497de1515d907c",
    );
    assert_eq!(
        identity.device_id().to_string(),
        "QDTLOT2-DKAUUEA-NH6NNEV-ZLTQ32N-BA3G3ET-XWGGWP2-T6HC3CB-VEGU7QD"
    );
}

#[test]
fn every_archive_has_a_master_key_of_its_own() {
    let root = secrets().archive_root;
    let (one, two) = (ArchiveId::generate(), ArchiveId::generate());
    assert!(root.master_key(&one) == root.master_key(&one));
    assert!(root.master_key(&one) != root.master_key(&two));
}

#[test]
fn a_stored_key_is_read_back_and_a_file_of_another_length_is_named() {
    let key = secrets().state;
    assert!(StateKey::from_slice(key.to_bytes().as_slice()).unwrap() == key);
    let error = StateKey::from_slice(&[0; 31]).err().unwrap();
    assert_eq!(error.to_string(), "a stored state key has 32 bytes, this one has 31");
}

#[test]
fn parts_of_a_label_can_not_be_shifted_into_one_another() {
    assert!(expand::<32>(b"key", &[b"ab", b"c"]) != expand::<32>(b"key", &[b"a", b"bc"]));
}
