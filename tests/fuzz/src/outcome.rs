//! What a reader made of an input: whether it took it, and the form of what came out.

use std::fmt::{self, Debug, Write};

/// What a reader made of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// See [`form`].
    pub form: u64,
    /// The reader took the input for what it looks for, and did not stop at the first check.
    pub taken: bool,
}

/// What is refused like most of what is random.
pub const NOTHING: Outcome = Outcome { form: 0, taken: false };

/// The reader took the input, and made this of it.
pub fn taken(value: &impl Debug) -> Outcome {
    judged(true, value)
}

/// The reader refused the input, for this reason.
pub fn refused(value: &impl Debug) -> Outcome {
    judged(false, value)
}

/// Whether the reader took the input, and what came of it.
pub fn judged(taken: bool, value: &impl Debug) -> Outcome {
    Outcome { form: form(value), taken }
}

/// A number for the form of a value: its variants, its fields, how many there are, and how long its texts and numbers are, roughly;
/// not what is in them. Two inputs with the same one went about the same way.
pub fn form(value: &impl Debug) -> u64 {
    let mut form = Form { hash: 0xcbf2_9ce4_8422_2325, quoted: false, escaped: false, run: 0 };
    // Writing into a number does not fail, and a value that can't be printed has a form all the same.
    let _written = write!(form, "{value:?}");
    form.end_run();
    form.hash
}

struct Form {
    hash: u64,
    quoted: bool,
    escaped: bool,
    /// How many characters of a text, or digits of a number, went by.
    run: u32,
}

impl Form {
    fn add(&mut self, byte: u8) {
        self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    fn end_run(&mut self) {
        if self.run > 0 {
            self.add(u8::try_from(u32::BITS - self.run.leading_zeros()).unwrap_or(u8::MAX));
        }
        self.run = 0;
    }
}

impl Write for Form {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.quoted => self.escaped = true,
                b'"' => {
                    self.end_run();
                    self.quoted = !self.quoted;
                    self.add(byte);
                }
                _ if self.quoted => self.run += 1,
                b'0'..=b'9' => self.run += 1,
                _ => {
                    self.end_run();
                    self.add(byte);
                }
            }
        }
        Ok(())
    }
}
