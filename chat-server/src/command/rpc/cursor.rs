//! Where a list goes on: a text that means nothing to clients, and nothing in another list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::fields::{Fields, invalid};
use super::Refusal;

/// Entries of a page, unless the request says how many.
const PAGE_DEFAULT: u64 = 50;

/// Entries of a page at most; who asks for more gets so many.
const PAGE_MAX: u64 = 100;

/// What stands between the list and the place in it; no list has it in its name.
const BETWEEN: char = '\n';

/// Which part of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Behind this entry; `None` = from the beginning.
    pub(super) after: Option<String>,
    /// At most so many.
    pub(super) limit: usize,
}

/// What a request wants of a list, by its fields `cursor` and `limit`.
pub(super) fn part(fields: &Fields, list: &str) -> Result<Part, Refusal> {
    let limit = match fields.maybe_number("limit")? {
        Some(0) => return Err(invalid("limit", "range", "limit is at least 1")),
        limit => limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX),
    };
    let after = match fields.maybe_text("cursor")? {
        None => None,
        Some(cursor) => Some(read(cursor, list).ok_or_else(refused)?),
    };
    Ok(Part { after, limit: usize::try_from(limit).unwrap_or_default() })
}

/// The entries of a page out of those that were read, which are one more where there is another
/// page; and its cursor.
pub(super) fn page<T>(
    list: &str,
    limit: usize,
    mut entries: Vec<T>,
    key: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let is_last = entries.len() <= limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| !is_last);
    let next = last.map(|last| write(list, &key(last)));
    (entries, next)
}

/// The cursor is not one of this list.
pub(super) fn refused() -> Refusal {
    invalid("cursor", "cursor", "cursor is the `next` of a page of the same list")
}

fn write(list: &str, after: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}{BETWEEN}{after}"))
}

fn read(cursor: &str, list: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (named, after) = text.split_once(BETWEEN)?;
    (named == list).then(|| after.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::Json;

    fn fields(value: &Value) -> Fields {
        Fields::parse(Some(&Json::from_value(value).unwrap())).unwrap()
    }

    #[test]
    fn a_page_names_the_next_one_only_when_there_is_one() {
        let key = |entry: &u32| entry.to_string();
        let (entries, next) = page("numbers", 2, vec![1, 2, 3], key);
        assert_eq!(entries, [1, 2]);
        let cursor = next.unwrap();
        let part = part(&fields(&json!({ "cursor": cursor, "limit": 1000 })), "numbers").unwrap();
        assert_eq!(part, Part { after: Some("2".to_owned()), limit: 100 });
        assert_eq!(page("numbers", 2, vec![3, 4], key), (vec![3, 4], None));
        assert_eq!(page("numbers", 2, vec![], key), (vec![], None));
    }

    #[test]
    fn a_cursor_of_another_list_or_none_at_all_is_refused_by_name() {
        let other = write("letters", "2");
        for cursor in ["", "!", "AAAA", &other, "bnVtYmVycw", "_w"] {
            let fields = fields(&json!({ "cursor": cursor }));
            let Err(Refusal::Error(error)) = part(&fields, "numbers") else { panic!("{cursor}") };
            assert_eq!((error.code.code(), error.field), (400, Some("cursor")), "{cursor}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused_and_none_is_fifty() {
        assert_eq!(part(&fields(&json!({})), "a").unwrap().limit, 50);
        for limit in [json!(0), json!(-1), json!("9"), json!(1.5)] {
            let Err(Refusal::Error(error)) = part(&fields(&json!({ "limit": limit })), "a") else {
                panic!("{limit}")
            };
            assert_eq!((error.code.code(), error.field), (400, Some("limit")));
        }
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back_as_it_was(list in "[a-z/:-]{0,40}", after in any::<String>()) {
            let cursor = write(&list, &after);
            prop_assert_eq!(read(&cursor, &list), Some(after));
            prop_assert_eq!(read(&cursor, &format!("{list}x")), None);
        }

        #[test]
        fn any_text_is_a_cursor_or_not(text in any::<String>()) {
            drop(read(&text, "list"));
        }
    }
}
