use data_encoding::HEXLOWER;

use super::*;

/// The vectors with 256 bits that BIP39 publishes.
const VECTORS: [(&str, &str); 8] = [
    (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
    ),
    (
        "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
        "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal \
         winner thank year wave sausage worth title",
    ),
    (
        "8080808080808080808080808080808080808080808080808080808080808080",
        "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic \
         avoid letter advice cage absurd amount doctor acoustic bless",
    ),
    (
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
    ),
    (
        "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
        "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis \
         maple dilemma loan word shrug inflict delay length",
    ),
    (
        "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
        "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich alcohol speed nation flash \
         devote level hobby quick inner drive ghost inside",
    ),
    (
        "066dca1a2bb7e8a1db2832148ce9933eea0f3ac9548d793112d9a95c9407efad",
        "all hour make first leader extend hole alien behind guard gospel lava path output census museum junior mass \
         reopen famous sing advance salt reform",
    ),
    (
        "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
        "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol \
         group space point ten exist slush involve unfold",
    ),
];

fn check_error(text: &str, expected: &str) {
    assert_eq!(RecoveryPhrase::parse(text).err().unwrap().to_string(), expected);
}

#[test]
fn the_published_vectors_of_bip39_pass_both_ways() {
    for (entropy, words) in VECTORS {
        let phrase = RecoveryPhrase::parse(words).unwrap();
        assert_eq!(HEXLOWER.encode(phrase.to_entropy().as_slice()), entropy);
        assert_eq!(phrase.words().join(" "), words);
    }
}

#[test]
fn a_generated_phrase_reads_back_and_is_never_the_same() {
    let phrase = RecoveryPhrase::generate();
    assert!(RecoveryPhrase::parse(&phrase.words().join("\n")).unwrap() == phrase);
    assert!(RecoveryPhrase::generate() != phrase);
}

#[test]
fn a_phrase_copied_from_the_printed_sheet_is_understood() {
    let words = VECTORS[4].1;
    let sheet: String = words
        .split(' ')
        .enumerate()
        .map(|(n, word)| format!("{:2}. {}\r\n", n + 1, word.to_uppercase()))
        .collect();
    assert!(RecoveryPhrase::parse(&sheet).unwrap() == RecoveryPhrase::parse(words).unwrap());
    assert!(
        RecoveryPhrase::parse(&words.replace(' ', ", ")).unwrap() == RecoveryPhrase::parse(words).unwrap()
    );
}

#[test]
fn too_few_and_too_many_words_are_counted() {
    let words = VECTORS[4].1;
    check_error("", "a recovery phrase has 24 words, this one has 0");
    check_error("hamster diagram", "a recovery phrase has 24 words, this one has 2");
    check_error(&format!("{words} zoo"), "a recovery phrase has 24 words, this one has 25");
}

#[test]
fn an_unknown_word_is_named_with_its_number_and_what_it_may_have_been() {
    let words = VECTORS[4].1;
    check_error(
        &words.replace("dutch", "dutsh"),
        "word 4 of the recovery phrase, \"dutsh\", is not in the list of words (perhaps \"dutch\"?)",
    );
    check_error(
        &words.replace("length", "lengthy"),
        "word 24 of the recovery phrase, \"lengthy\", is not in the list of words (perhaps \"length\"?)",
    );
    check_error(
        &words.replace("hamster", "\u{1b}[31mqqq"),
        "word 1 of the recovery phrase, \"[31mqqq\", is not in the list of words",
    );
}

#[test]
fn words_in_the_wrong_order_are_refused() {
    let words = VECTORS[4].1;
    let swapped = words.replace("hamster diagram", "diagram hamster");
    assert_eq!(RecoveryPhrase::parse(&swapped).err(), Some(PhraseError::Checksum));
}
