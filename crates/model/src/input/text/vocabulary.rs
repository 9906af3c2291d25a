//! The known terms of a text, and the place of each.

use serde::{Deserialize, Serialize};

use super::hash::murmur3;

/// Terms in the order of their bytes, each of which has its number as place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Vocabulary {
    terms: Vec<String>,
    /// An open hash table of places, plus 1: 0 is free.
    slots: Vec<u32>,
}

impl PartialEq for Vocabulary {
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms
    }
}

impl From<Vocabulary> for Vec<String> {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.terms
    }
}

impl From<Vec<String>> for Vocabulary {
    /// Of terms in the order of their bytes; at most half of the numbers of 32 bits.
    fn from(terms: Vec<String>) -> Self {
        let mut slots = vec![0; (2 * terms.len()).next_power_of_two()];
        for (place, term) in (1..).zip(&terms) {
            let mut slot = first_slot(term, slots.len());
            while slots[slot] != 0 {
                slot = (slot + 1) % slots.len();
            }
            slots[slot] = place;
        }
        Self { terms, slots }
    }
}

fn first_slot(term: &str, slots: usize) -> usize {
    murmur3(term.as_bytes(), 0) as usize % slots
}

impl Vocabulary {
    /// The terms, by place.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// The place of a term, if it is known.
    pub fn place(&self, term: &str) -> Option<u32> {
        let mut slot = first_slot(term, self.slots.len());
        loop {
            let place = self.slots[slot].checked_sub(1)?;
            if self.terms[place as usize] == term {
                return Some(place);
            }
            slot = (slot + 1) % self.slots.len();
        }
    }

    /// The first term that is not behind the one before it, if there is one.
    pub(super) fn out_of_order(&self) -> Option<&String> {
        self.terms.windows(2).find(|pair| pair[0] >= pair[1]).map(|pair| &pair[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_has_its_number_and_others_have_none() {
        let mut terms: Vec<String> = (0..1000).map(|i| format!("term {i}")).collect();
        terms.sort_unstable();
        let vocabulary = Vocabulary::from(terms.clone());
        for (place, term) in (0..).zip(&terms) {
            assert_eq!(vocabulary.place(term), Some(place));
        }
        assert_eq!(vocabulary.place("term"), None);
        assert_eq!(Vocabulary::from(Vec::new()).place("term"), None);
    }
}
