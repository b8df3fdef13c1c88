//! Polynomials over GF(2), of which the chunker needs an irreducible one of degree 53.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The degree that restic's chunker uses: the largest prime below 64 - 8.
const DEGREE: u32 = 53;

/// An irreducible polynomial of degree 53 over GF(2): bit `i` is the coefficient of `x^i`.
///
/// It decides where files are cut. Whoever knows it can recognise known files by their sizes, so it is kept like a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Polynomial(u64);

/// Why a number is no polynomial for the chunker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolynomialError {
    /// Not hexadecimal.
    #[error("a chunker polynomial is a hexadecimal number")]
    NotHexadecimal,
    /// Another degree than 53.
    #[error("the chunker polynomial does not have degree 53")]
    WrongDegree,
    /// It is a product of smaller polynomials.
    #[error("the chunker polynomial is reducible")]
    Reducible,
}

impl Polynomial {
    /// Checks degree and irreducibility.
    ///
    /// # Errors
    /// It is not an irreducible polynomial of degree 53.
    pub fn new(bits: u64) -> Result<Self, PolynomialError> {
        if degree(bits) != Some(DEGREE) {
            return Err(PolynomialError::WrongDegree);
        }
        if !is_irreducible(bits) {
            return Err(PolynomialError::Reducible);
        }
        Ok(Self(bits))
    }

    /// The polynomial that belongs to a seed: always the same one for the same seed.
    ///
    /// Candidates are the first eight bytes (little endian) of SHA-256(seed || counter as 8 bytes little endian), with all
    /// bits above 53 cleared and bits 53 and 0 set; the first irreducible one is taken, after about 27 on average.
    #[must_use]
    pub fn derive(seed: &[u8; 32]) -> Self {
        let mut counter = 0u64;
        loop {
            let mut context = Context::new(&SHA256);
            context.update(seed);
            context.update(&counter.to_le_bytes());
            let hash = context.finish();
            let mut first = [0; 8];
            first.copy_from_slice(&hash.as_ref()[..8]);
            let bits = u64::from_le_bytes(first) & ((1 << DEGREE) - 1) | (1 << DEGREE) | 1;
            if is_irreducible(bits) {
                return Self(bits);
            }
            counter += 1;
        }
    }

    /// The coefficients.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// As in restic's config: hexadecimal without a prefix.
impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Not printed, see the type.
impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Polynomial(..)")
    }
}

impl FromStr for Polynomial {
    type Err = PolynomialError;

    fn from_str(text: &str) -> Result<Self, PolynomialError> {
        Self::new(u64::from_str_radix(text, 16).map_err(|_| PolynomialError::NotHexadecimal)?)
    }
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Polynomial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The degree; the zero polynomial has none.
fn degree(p: u64) -> Option<u32> {
    p.checked_ilog2()
}

/// The remainder of `a / m`.
pub(super) fn remainder(mut a: u64, m: u64) -> u64 {
    let Some(target) = degree(m) else { return a };
    while let Some(current) = degree(a)
        && current >= target
    {
        a ^= m << (current - target);
    }
    a
}

/// `a * b mod m` for `a` and `b` below `m`, whose degree is at most 62.
fn multiply(mut a: u64, mut b: u64, m: u64) -> u64 {
    let top = 1u64 << m.ilog2();
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        b >>= 1;
        a <<= 1;
        if a & top != 0 {
            a ^= m;
        }
    }
    product
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, remainder(a, b));
    }
    a
}

/// Ben-Or's test: `p` is irreducible if it has no factor in common with `x^(2^i) - x` for `i` up to half its degree,
/// for the latter is the product of all irreducible polynomials whose degree divides `i`.
fn is_irreducible(p: u64) -> bool {
    let Some(degree) = degree(p).filter(|&degree| degree > 0) else { return false };
    let x = remainder(2, p);
    let mut power = x;
    for _ in 0..degree / 2 {
        power = multiply(power, power, p);
        if greatest_common_divisor(p, power ^ x) != 1 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_irreducibility_test_agrees_with_trial_division() {
        for p in 2u64..4096 {
            let divisible = (2..p).take_while(|d| d.ilog2() < p.ilog2()).any(|d| remainder(p, d) == 0);
            assert_eq!(is_irreducible(p), !divisible, "{p:b}");
        }
    }

    #[test]
    fn polynomials_known_from_restic_are_accepted() {
        // The polynomial of the chunker's own test suite.
        assert!("3da3358b4dc173".parse::<Polynomial>().is_ok());
        assert_eq!("3da3358b4dc175".parse::<Polynomial>(), Err(PolynomialError::Reducible));
        assert_eq!("3".parse::<Polynomial>(), Err(PolynomialError::WrongDegree));
        assert_eq!("xyz".parse::<Polynomial>(), Err(PolynomialError::NotHexadecimal));
    }

    #[test]
    fn a_seed_always_gives_the_same_polynomial() {
        let polynomial = Polynomial::derive(&[7; 32]);
        assert_eq!(polynomial.to_string(), Polynomial::derive(&[7; 32]).to_string());
        assert_ne!(polynomial, Polynomial::derive(&[8; 32]));
        assert_eq!(polynomial.to_string().parse::<Polynomial>(), Ok(polynomial));
    }
}
