//! The publications a channel keeps, and what can be read from them.
//!
//! Offsets are 1, 2, 3 ... without a hole for the life of an epoch; the ring drops the oldest
//! entry by size and by age, never one in the middle. Pure: `now` is an argument.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::Options;
use crate::protocol::{Json, Position, Publication};

/// What an entry takes beside its data.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Bytes of data after which a history page ends.
const PAGE_BYTES_MAX: usize = 512 * 1024;

/// What a reading starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The oldest entry.
    Oldest,
    /// The newest entry, going back.
    Newest,
    /// Entries behind this offset.
    After(u64),
    /// Entries before this offset, going back.
    Before(u64),
}

/// The ring of one channel.
#[derive(Debug)]
pub struct History {
    epoch: Arc<str>,
    top: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    publication: Publication,
    kept_since: Instant,
}

/// Some publications and the position of the channel when they were read.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In the order of the reading.
    pub publications: Vec<Publication>,
    /// The newest position.
    pub top: Position,
}

impl History {
    /// An empty history of a new life.
    #[must_use]
    pub fn new(epoch: Arc<str>) -> Self {
        Self { epoch, top: 0, entries: VecDeque::new(), bytes: 0 }
    }

    /// The channel stands there: nothing before it is kept.
    pub fn begin_at(&mut self, position: &Position) {
        self.clear();
        (self.epoch, self.top) = (position.epoch.clone(), position.offset);
    }

    /// Forgets what is kept; the position stays.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
    }

    /// An entry says something else now.
    pub fn amend(&mut self, offset: u64, data: &Json) {
        let kept = self.top - self.entries.len() as u64;
        let Some(index) = offset.checked_sub(kept + 1) else { return };
        let entry = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index));
        if let Some(Entry { publication, .. }) = entry {
            self.bytes = self.bytes - publication.data.len() + data.len();
            publication.data = data.clone();
        }
    }

    /// True when another publication of this offset is kept.
    #[must_use]
    pub fn contradicts(&self, publication: &Publication) -> bool {
        let Some(before) = publication.offset.checked_sub(1) else { return false };
        let kept = self.top - self.entries.len() as u64;
        let found = self.after(before).next().filter(|_| before >= kept);
        let is_same = |Entry { publication: kept, .. }: &Entry| {
            (kept.time_ms, &kept.data) == (publication.time_ms, &publication.data)
        };
        !found.is_none_or(is_same)
    }

    /// A page, if everything it would hold is kept; `None` sends the reader to where
    /// all of it is.
    #[must_use]
    pub fn whole_page(&self, since: Since, limit: usize) -> Option<Page> {
        let kept = self.top - self.entries.len() as u64;
        let behind = |offset: u64| usize::try_from(offset.saturating_sub(kept)).unwrap_or(0);
        let whole = match since {
            Since::Oldest => kept == 0,
            Since::After(offset) => offset >= kept && offset <= self.top,
            Since::Newest => kept == 0 || self.entries.len() >= limit,
            Since::Before(offset) => kept == 0 || behind(offset.min(self.top + 1)) > limit,
        };
        whole.then(|| self.page(since, limit))
    }

    /// The newest position.
    #[must_use]
    pub fn top(&self) -> Position {
        Position { offset: self.top, epoch: self.epoch.clone() }
    }

    /// What is kept, in bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives the publication its offset and keeps it.
    pub fn append(&mut self, publication: &mut Publication, options: &Options, now: Instant) {
        self.top += 1;
        publication.offset = self.top;
        self.bytes += cost(publication);
        self.entries.push_back(Entry { publication: publication.clone(), kept_since: now });
        self.expire(options, now);
    }

    /// Everything behind this offset is kept.
    #[must_use]
    pub fn kept_after(&self) -> u64 {
        self.top - self.entries.len() as u64
    }

    /// Keeps earlier ones too, from the newest of them backward, as far as there is room and none
    /// is missing.
    pub fn recall(&mut self, publications: Vec<Publication>, options: &Options, now: Instant) {
        for publication in publications {
            let kept = self.kept_after();
            if publication.offset > kept {
                continue;
            }
            if publication.offset < kept || self.entries.len() >= options.history_size {
                return;
            }
            self.bytes += cost(&publication);
            self.entries.push_front(Entry { publication, kept_since: now });
        }
    }

    /// Drops what is too old or too many.
    pub fn expire(&mut self, options: &Options, now: Instant) {
        while self.entries.len() > options.history_size
            || self
                .entries
                .front()
                .is_some_and(|entry| now - entry.kept_since > options.history_ttl)
        {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= cost(&entry.publication);
            }
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// What a client that knows `from` has missed, or `None` when that cannot be told in full: the
    /// epoch is another, the offset is from the future, or entries behind it are gone.
    #[must_use]
    pub fn missed(&self, from: &Position) -> Option<Vec<Publication>> {
        let same_life = from.epoch.is_empty() || from.epoch == self.epoch;
        let kept = self.top - self.entries.len() as u64;
        if !same_life || from.offset > self.top || from.offset < kept {
            return None;
        }
        Some(self.after(from.offset).map(|entry| entry.publication.clone()).collect())
    }

    /// At most `limit` publications; a page also ends at 512 KiB of data.
    #[must_use]
    pub fn page(&self, since: Since, limit: usize) -> Page {
        let entries: Box<dyn Iterator<Item = &Entry>> = match since {
            Since::Oldest => Box::new(self.entries.iter()),
            Since::Newest => Box::new(self.entries.iter().rev()),
            Since::After(offset) => Box::new(self.after(offset)),
            Since::Before(offset) => {
                let before = self.entries.iter().rev();
                Box::new(before.skip_while(move |entry| entry.publication.offset >= offset))
            }
        };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.publication.data.as_bytes().len();
            first || bytes <= PAGE_BYTES_MAX
        };
        let kept = entries.take(limit).take_while(fits);
        Page {
            publications: kept.map(|entry| entry.publication.clone()).collect(),
            top: self.top(),
        }
    }

    #[cfg(test)]
    fn words(&self) -> Vec<String> {
        let word =
            |entry: &Entry| String::from_utf8_lossy(entry.publication.data.as_bytes()).into();
        self.entries.iter().map(word).collect()
    }

    fn after(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        let kept = self.top - self.entries.len() as u64;
        let known = usize::try_from(offset.saturating_sub(kept)).unwrap_or(usize::MAX);
        self.entries.iter().skip(known)
    }
}

fn cost(publication: &Publication) -> usize {
    publication.data.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::Json;

    fn options(history_size: usize) -> Options {
        Options { history_size, history_ttl: Duration::from_secs(10), ..Options::default() }
    }

    fn history(count: u64, size: usize) -> History {
        let mut history = History::new("life".into());
        for _ in 0..count {
            let mut publication = Publication::new(Json::parse(b"1").unwrap());
            history.append(&mut publication, &options(size), Instant::now());
        }
        history
    }

    fn at(offset: u64, epoch: &str) -> Position {
        Position { offset, epoch: epoch.into() }
    }

    fn offsets(publications: &[Publication]) -> Vec<u64> {
        publications.iter().map(|publication| publication.offset).collect()
    }

    #[test]
    fn what_was_missed_is_told_in_full_or_not_at_all() {
        let history = history(10, 4);
        let missed = |position| history.missed(&position).map(|missed| offsets(&missed));
        assert_eq!(missed(at(8, "life")), Some(vec![9, 10]));
        assert_eq!(missed(at(10, "life")), Some(vec![]));
        assert_eq!(missed(at(6, "")), Some(vec![7, 8, 9, 10]));
        assert_eq!(missed(at(5, "life")), None, "7 is the oldest kept");
        assert_eq!(missed(at(11, "life")), None, "from the future");
        assert_eq!(missed(at(8, "another")), None);
    }

    #[test]
    fn pages_read_both_ways_from_anywhere() {
        let history = history(10, 5);
        let page = |since, limit| offsets(&history.page(since, limit).publications);
        assert_eq!(page(Since::Oldest, 2), [6, 7]);
        assert_eq!(page(Since::Newest, 2), [10, 9]);
        assert_eq!(page(Since::After(8), 9), [9, 10]);
        assert_eq!(page(Since::After(1), 1), [6]);
        assert_eq!(page(Since::Before(8), 9), [7, 6]);
        assert_eq!(page(Since::Before(99), 1), [10]);
        assert_eq!(page(Since::Oldest, 0), [0; 0]);
    }

    #[test]
    fn entries_age_from_the_front_and_the_offset_stays() {
        let mut history = history(3, 5);
        history.expire(&options(5), Instant::now() + Duration::from_secs(11));
        assert!(history.is_empty());
        assert_eq!(history.bytes(), 0);
        assert_eq!(history.top().offset, 3);
        assert_eq!(history.missed(&at(2, "life")), None);
        assert_eq!(history.missed(&at(3, "life")), Some(vec![]));
    }

    #[test]
    fn what_was_not_kept_is_put_back_without_a_hole() {
        let earlier = |offset| Publication {
            offset,
            ..Publication::new(Json::parse(b"\"earlier\"").unwrap())
        };
        let mut history = history(10, 3);
        let recall = |history: &mut History, offsets: &[u64], size| {
            let publications = offsets.iter().map(|&offset| earlier(offset)).collect();
            history.recall(publications, &options(size), Instant::now());
            history.kept_after()
        };
        assert_eq!(recall(&mut history, &[6, 5], 9), 7, "7 is missing");
        assert_eq!(recall(&mut history, &[9, 8, 7, 6], 9), 5, "from where it is kept");
        assert_eq!(history.words(), ["\"earlier\"", "\"earlier\"", "1", "1", "1"]);
        assert_eq!(recall(&mut history, &[5, 4, 3, 2, 1], 6), 4, "as many as there may be");
        assert_eq!(history.missed(&at(4, "life")).map(|missed| missed.len()), Some(6));
        history.clear();
        assert_eq!((history.bytes(), recall(&mut history, &[10], 6)), (0, 9));
    }

    #[test]
    fn an_amended_entry_says_what_stands_now() {
        let mut history = history(5, 3);
        let (new, bytes) = (Json::parse(b"\"new\"").unwrap(), history.bytes());
        for offset in [0, 2, 4, 6] {
            history.amend(offset, &new);
        }
        assert_eq!(history.words(), ["1", "\"new\"", "1"]);
        assert_eq!(history.bytes(), bytes + 4);
    }

    #[test]
    fn two_publications_of_one_offset_contradict_each_other() {
        let history = history(5, 3);
        let other = Publication::new(Json::parse(b"2").unwrap());
        let contradicts = |offset, publication: &Publication| {
            history.contradicts(&Publication { offset, ..publication.clone() })
        };
        let same = Publication::new(Json::parse(b"1").unwrap());
        for offset in 0..=6 {
            assert!(!contradicts(offset, &same));
            assert_eq!(contradicts(offset, &other), (3..=5).contains(&offset), "{offset} of 3..5");
        }
    }

    #[test]
    fn a_page_comes_from_memory_only_when_all_of_it_is_there() {
        let history = history(10, 4);
        let page =
            |since, limit| history.whole_page(since, limit).map(|page| offsets(&page.publications));
        assert_eq!(page(Since::After(6), 9), Some(vec![7, 8, 9, 10]));
        assert_eq!(page(Since::After(5), 9), None);
        assert_eq!(page(Since::Newest, 4), Some(vec![10, 9, 8, 7]));
        assert_eq!(page(Since::Newest, 5), None);
        assert_eq!(page(Since::Before(10), 3), Some(vec![9, 8, 7]));
        assert_eq!(page(Since::Before(10), 4), None);
        assert_eq!(page(Since::Before(99), 4), Some(vec![10, 9, 8, 7]));
        assert_eq!(page(Since::Oldest, 1), None);
    }

    #[test]
    fn a_page_ends_at_its_bytes() {
        let mut history = History::new("life".into());
        let large = format!("\"{}\"", "x".repeat(300 * 1024));
        for _ in 0..3 {
            let mut publication = Publication::new(Json::parse(large.as_bytes()).unwrap());
            history.append(&mut publication, &options(5), Instant::now());
        }
        assert_eq!(offsets(&history.page(Since::Oldest, 5).publications), [1]);
    }
}
