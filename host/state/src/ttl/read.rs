//! Reads of states with time to live, one at a time: what a function is given, and what the read changes.
//!
//! The rules are Flink's. A value or map entry that is over is removed by the read that finds it, and that read returns it
//! where the state's visibility says so; one that is not lives anew where the update type says so. A list keeps elements
//! that are over until all are, or, where reads update it, until the next read.

use std::vec;

use super::{Aged, TimeToLive};
use crate::backend::{PAGE_ENTRY_BYTES, Page, StateError};

/// Bytes of a page in which a list is read that a read writes anew.
const WHOLE_LIST_PAGE_BYTES: usize = 1 << 20;

/// What is stored of one state for one key, stamps included.
pub trait Stored {
    /// Why it cannot be reached.
    type Error;

    /// The value, or the map's under a key.
    fn get(&mut self, map_key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Sets it.
    fn set(&mut self, map_key: &[u8], value: Vec<u8>) -> Result<(), Self::Error>;

    /// Removes it. May be left undone where too much is to be removed at once: a later read does it.
    fn remove(&mut self, map_key: &[u8]) -> Result<(), Self::Error>;

    /// As [`KeyedStateBackend::map_page`](crate::backend::KeyedStateBackend::map_page).
    fn map_page(&mut self, after: Option<&[u8]>, bytes_max: usize) -> Result<Page, Self::Error>;

    /// As [`KeyedStateBackend::list_page`](crate::backend::KeyedStateBackend::list_page).
    fn list_page(&mut self, start: u64, bytes_max: usize) -> Result<Page, Self::Error>;

    /// Replaces the list.
    fn list_replace(&mut self, elements: Vec<Vec<u8>>) -> Result<(), Self::Error>;

    /// An error of what is stored, as one of its own.
    fn corrupt(&mut self, error: StateError) -> Self::Error;
}

/// What a read of a value or of one map entry gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the function sees.
    pub value: Option<Vec<u8>>,
    /// Whether it is gone after this read.
    pub is_removed: bool,
}

/// How much of a list or map is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBound {
    /// Elements or entries.
    pub entries_max: usize,
    /// Their bytes; one is given whatever its size.
    pub bytes_max: usize,
}

impl PageBound {
    fn is_reached(self, page: &Page, bytes: usize) -> bool {
        page.entries.len() >= self.entries_max || (!page.entries.is_empty() && bytes > self.bytes_max)
    }
}

/// Where a function stands that reads a list page after page.
#[derive(Debug)]
pub struct ListReading {
    /// Elements that it has been given.
    given: u64,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    /// Elements of the stored list that come next.
    Stored { next: u64, any_lives: bool },
    /// Of a list that the read has written anew.
    Taken(vec::IntoIter<Vec<u8>>),
}

impl TimeToLive {
    /// Reads a value, or a map's under a key.
    pub fn read<S: Stored>(&self, stored: &mut S, map_key: &[u8]) -> Result<Reading, S::Error> {
        let Some(bytes) = stored.get(map_key)? else {
            return Ok(Reading::default());
        };
        let aged = self.open(&bytes).map_err(|error| stored.corrupt(error))?;
        self.touch(stored, map_key, aged)?;
        Ok(Reading {
            value: self.shows(aged).then(|| aged.value.to_vec()),
            is_removed: aged.is_expired,
        })
    }

    /// Reads entries of a map after `after`.
    pub fn map_page<S: Stored>(
        &self,
        stored: &mut S,
        after: Option<&[u8]>,
        bound: PageBound,
    ) -> Result<Page, S::Error> {
        let (mut page, mut bytes) = (Page::default(), 0);
        let mut after = after.map(<[u8]>::to_vec);
        loop {
            let held = stored.map_page(after.as_deref(), bound.bytes_max)?;
            page.done = held.done || held.entries.is_empty();
            for (map_key, value) in held.entries {
                let aged = self.open(&value).map_err(|error| stored.corrupt(error))?;
                let shown = self.shows(aged);
                let cost = map_key.len() + aged.value.len() + PAGE_ENTRY_BYTES;
                if shown && bound.is_reached(&page, bytes + cost) {
                    page.done = false;
                    return Ok(page);
                }
                self.touch(stored, &map_key, aged)?;
                after = Some(map_key.clone());
                if shown {
                    bytes += cost;
                    page.entries.push((map_key, aged.value.to_vec()));
                }
            }
            if page.done || !page.entries.is_empty() {
                return Ok(page);
            }
        }
    }

    /// Reads elements of a list from number `start` of those that the function sees. `reading` is where the last page
    /// of this list ended: a page from there goes on, any other begins a new read.
    pub fn list_page<S: Stored>(
        &self,
        stored: &mut S,
        reading: &mut Option<ListReading>,
        start: u64,
        bound: PageBound,
    ) -> Result<Page, S::Error> {
        let mut current = match reading.take() {
            Some(reading) if start > 0 && reading.given == start => reading,
            _ => self.begin_list(stored)?,
        };
        while current.given < start {
            let skipped = PageBound {
                entries_max: usize::try_from(start - current.given).unwrap_or(usize::MAX),
                ..bound
            };
            let page = self.next_of_list(stored, &mut current, skipped)?;
            if page.done {
                return Ok(Page {
                    entries: Vec::new(),
                    done: true,
                });
            }
        }
        let page = self.next_of_list(stored, &mut current, bound)?;
        if !page.done {
            *reading = Some(current);
        }
        Ok(page)
    }

    /// Where reads update the list it is written anew, without what is over.
    fn begin_list<S: Stored>(&self, stored: &mut S) -> Result<ListReading, S::Error> {
        if self.settings.update_type == wasmill_model::function::UpdateType::OnCreateAndWrite {
            let rest = Rest::Stored {
                next: 0,
                any_lives: false,
            };
            return Ok(ListReading { given: 0, rest });
        }
        let (mut shown, mut living, mut next, mut changes) = (Vec::new(), Vec::new(), 0, false);
        loop {
            let held = stored.list_page(next, WHOLE_LIST_PAGE_BYTES)?;
            let is_last = held.done || held.entries.is_empty();
            for (_, element) in held.entries {
                next += 1;
                let aged = self.open(&element).map_err(|error| stored.corrupt(error))?;
                changes |= aged.stamp != self.now;
                if self.shows(aged) {
                    shown.push(aged.value.to_vec());
                }
                if !aged.is_expired {
                    living.push(self.stamped(aged.value));
                }
            }
            if is_last {
                break;
            }
        }
        if changes {
            stored.list_replace(living)?;
        }
        let rest = Rest::Taken(shown.into_iter());
        Ok(ListReading { given: 0, rest })
    }

    fn next_of_list<S: Stored>(
        &self,
        stored: &mut S,
        reading: &mut ListReading,
        bound: PageBound,
    ) -> Result<Page, S::Error> {
        let page = match &mut reading.rest {
            Rest::Stored { next, any_lives } => self.next_stored(stored, next, any_lives, bound)?,
            Rest::Taken(rest) => next_taken(rest, bound),
        };
        reading.given += page.entries.len() as u64;
        Ok(page)
    }

    /// A list of which nothing lives is gone once its end was read.
    fn next_stored<S: Stored>(
        &self,
        stored: &mut S,
        next: &mut u64,
        any_lives: &mut bool,
        bound: PageBound,
    ) -> Result<Page, S::Error> {
        let (mut page, mut bytes) = (Page::default(), 0);
        loop {
            let held = stored.list_page(*next, bound.bytes_max)?;
            page.done = held.done || held.entries.is_empty();
            for (_, element) in held.entries {
                let aged = self.open(&element).map_err(|error| stored.corrupt(error))?;
                let shown = self.shows(aged);
                let cost = aged.value.len() + PAGE_ENTRY_BYTES;
                if shown && bound.is_reached(&page, bytes + cost) {
                    page.done = false;
                    return Ok(page);
                }
                *next += 1;
                *any_lives |= !aged.is_expired;
                if shown {
                    bytes += cost;
                    page.entries.push((Vec::new(), aged.value.to_vec()));
                }
            }
            if page.done && !*any_lives && *next > 0 {
                stored.list_replace(Vec::new())?;
            }
            if page.done || !page.entries.is_empty() {
                return Ok(page);
            }
        }
    }

    /// What a read of a value or map entry changes.
    fn touch<S: Stored>(&self, stored: &mut S, map_key: &[u8], aged: Aged<'_>) -> Result<(), S::Error> {
        if aged.is_expired {
            stored.remove(map_key)
        } else if self.renews(aged) {
            stored.set(map_key, self.stamped(aged.value))
        } else {
            Ok(())
        }
    }
}

fn next_taken(rest: &mut vec::IntoIter<Vec<u8>>, bound: PageBound) -> Page {
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(element) = rest.as_slice().first() {
        bytes += element.len() + PAGE_ENTRY_BYTES;
        if bound.is_reached(&page, bytes) {
            return page;
        }
        page.entries
            .extend(rest.next().map(|element| (Vec::new(), element)));
    }
    page.done = true;
    page
}
