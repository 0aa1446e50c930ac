//! Numbers in sentences.

/// `1 attempt`, `5 attempts`.
pub(crate) fn counted(number: impl Into<i64>, what: &str) -> String {
    match number.into() {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(0_u32, "attempt"), "0 attempts");
        assert_eq!(counted(1_u32, "attempt"), "1 attempt");
        assert_eq!(counted(5_i64, "attempt"), "5 attempts");
    }
}
