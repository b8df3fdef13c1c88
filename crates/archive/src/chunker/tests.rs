use proptest::prelude::*;

use super::*;

/// The polynomial of the test suite of restic's chunker.
fn polynomial() -> Polynomial {
    "3da3358b4dc173".parse().unwrap()
}

/// Bytes from a seed (xorshift64*).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        data.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    data.truncate(length);
    data
}

/// The algorithm as it is defined, bit by bit: the fingerprint is the window, read as a polynomial, modulo `p`. As in
/// restic, a chunk begins with a window of zeros that a 1 has entered, and the fingerprint starts 64 bytes before the
/// minimum.
fn reference_cuts(data: &[u8], p: u64) -> Vec<usize> {
    let append = |mut digest: u64, byte: u8| {
        for bit in (0..8).rev() {
            digest = (digest << 1) | u64::from(byte >> bit & 1);
            if digest >> 53 & 1 == 1 {
                digest ^= p;
            }
        }
        digest
    };
    let shifted_out: Vec<u64> =
        (0..=255u8).map(|byte| (0..63).fold(append(0, byte), |digest, _| append(digest, 0))).collect();
    let mut cuts = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let mut window = std::collections::VecDeque::from(vec![0u8; 64]);
        let mut digest = 0u64;
        let mut slide = |byte: u8| {
            window.push_back(byte);
            let old = window.pop_front().unwrap();
            digest = append(digest ^ shifted_out[usize::from(old)], byte);
            digest
        };
        slide(1);
        let mut length = (512 * 1024 - 64).min(data.len() - start);
        while start + length < data.len() {
            let digest = slide(data[start + length]);
            length += 1;
            if length >= 512 * 1024 && (digest & 0xfffff == 0 || length >= 8 * 1024 * 1024) {
                break;
            }
        }
        start += length;
        cuts.push(start);
    }
    cuts
}

/// Cuts as the backup does, with the file arriving in pieces.
fn cuts(data: &[u8], chunker: &Chunker, piece: usize) -> Vec<usize> {
    let mut cuts = Vec::new();
    let (mut start, mut end, mut searched) = (0, 0, 0);
    while start < data.len() {
        match chunker.cut(&data[start..end], searched) {
            Some(length) => {
                start += length;
                searched = 0;
                cuts.push(start);
                end = end.max(start);
            }
            None if end == data.len() => {
                start = end;
                cuts.push(start);
            }
            None => {
                searched = end - start;
                end = (end + piece).min(data.len());
            }
        }
    }
    cuts
}

fn check(data: &[u8], polynomial: Polynomial, piece: usize) {
    assert_eq!(cuts(data, &Chunker::new(polynomial), piece), reference_cuts(data, polynomial.bits()));
}

#[test]
fn cuts_equal_those_of_the_plain_algorithm_on_noise() {
    for seed in 1..4 {
        check(&noise(seed, 20_000_000), polynomial(), usize::MAX / 2);
    }
}

#[test]
fn cuts_do_not_depend_on_how_the_file_arrives() {
    let data = noise(99, 6_000_000);
    for piece in [4096, 65_537, 524_288, 1_000_003] {
        check(&data, polynomial(), piece);
    }
}

#[test]
fn files_without_variety_are_cut_at_the_largest_size() {
    check(&vec![0; 20_000_000], polynomial(), 1 << 20);
    check(&vec![0xa5; MAX_SIZE], polynomial(), usize::MAX / 2);
    check(&vec![1; MAX_SIZE + 1], polynomial(), usize::MAX / 2);
}

#[test]
fn lengths_around_the_smallest_chunk_are_right() {
    for length in [0, 1, 63, 64, 65, MIN_SIZE - 1, MIN_SIZE, MIN_SIZE + 1, MIN_SIZE + 40_000] {
        check(&noise(5, length), polynomial(), usize::MAX / 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn cuts_equal_those_of_the_plain_algorithm_for_any_polynomial(
        seed: [u8; 32], content: u64, length in 0usize..4_000_000, piece in 10_000usize..3_000_000
    ) {
        check(&noise(content, length), Polynomial::derive(&seed), piece);
    }
}
