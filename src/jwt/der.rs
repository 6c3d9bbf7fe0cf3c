//! RSA keys as the library writes them.
//!
//! Receives the PKCS #8 that AWS-LC gave, gives what is in it. Never meant for a key from
//! elsewhere.

use crate::jwt::Unusable;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The same key as PKCS #1, which is what `jsonwebtoken` signs with.
pub(super) fn pkcs1(pkcs8: &[u8]) -> Result<&[u8], Unusable> {
    let mut outer = pkcs8;
    let mut parts = element(&mut outer, SEQUENCE)?;
    let _version = element(&mut parts, INTEGER)?;
    let _algorithm = element(&mut parts, SEQUENCE)?;
    element(&mut parts, OCTET_STRING)
}

/// Its numbers, in the order of RFC 8017: n, e, d, p, q, dp, dq, qi.
pub(super) fn numbers(pkcs8: &[u8]) -> Result<[&[u8]; 8], Unusable> {
    let mut key = pkcs1(pkcs8)?;
    let mut parts = element(&mut key, SEQUENCE)?;
    let _version = element(&mut parts, INTEGER)?;
    let mut numbers: [&[u8]; 8] = [&[]; 8];
    for number in &mut numbers {
        let integer = element(&mut parts, INTEGER)?;
        // A zero in front keeps a number from being negative.
        *number = integer.strip_prefix(&[0]).unwrap_or(integer);
    }
    Ok(numbers)
}

/// Takes the element that `input` begins with, and gives what is in it.
fn element<'a>(input: &mut &'a [u8], tag: u8) -> Result<&'a [u8], Unusable> {
    let all = *input;
    let (&[found, first], mut rest) = all.split_first_chunk::<2>().ok_or(Unusable)?;
    if found != tag {
        return Err(Unusable);
    }
    let mut length = usize::from(first);
    if first >= 0x80 {
        // The length has a length. No key is longer than 64 KiB.
        let (digits, after) = rest.split_at_checked(length & 0x7f).ok_or(Unusable)?;
        if digits.len() > 2 {
            return Err(Unusable);
        }
        length = digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length).ok_or(Unusable)?;
    *input = after;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_ends_where_it_says_and_the_input_must_reach_there() {
        let mut input: &[u8] = &[2, 1, 7, 4, 0x81, 2, 8, 9, 2, 0x82, 0, 1, 5];
        assert_eq!(element(&mut input, INTEGER).ok(), Some(&[7][..]));
        assert!(element(&mut input, INTEGER).is_err(), "it is of another kind");
        assert_eq!(element(&mut input, OCTET_STRING).ok(), Some(&[8, 9][..]));
        assert_eq!(element(&mut input, INTEGER).ok(), Some(&[5][..]));
        for broken in [&[][..], &[2], &[2, 1], &[2, 0x81], &[2, 0x83, 0, 0, 0], &[2, 0x80]] {
            let found = element(&mut { broken }, INTEGER).ok();
            assert!(found.is_none_or(<[u8]>::is_empty), "{broken:?}");
        }
    }
}
