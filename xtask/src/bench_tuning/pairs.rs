//! Pairs of tasks: what a model has learned, and what it is tuned to.

use std::path::Path;

use anyhow::Result;

use super::sets::Set;
use crate::process;

/// A task: rows, and which of their labels count, none for all.
#[derive(Clone)]
pub(crate) struct Side {
    set: Set,
    pub(crate) classes: Vec<u8>,
}

/// Two tasks, and what they are called in the program and in the table.
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) words: String,
    pub(crate) old: Side,
    pub(crate) new: Side,
}

impl Side {
    fn of(set: &Set, classes: &[u8]) -> Self {
        Self { set: set.clone(), classes: classes.to_vec() }
    }

    /// Rows to learn from.
    pub(crate) fn rows(&self) -> usize {
        self.set.train.of(&self.classes).len()
    }

    /// The set with at most this many rows to learn from.
    pub(crate) fn drawn(&self, rows: usize, seed: u64) -> Set {
        let train = self.set.train.drawn(&self.classes, rows, seed);
        Set { train, ..self.set.clone() }
    }
}

impl Pair {
    fn new(name: &str, words: &str, old: Side, new: Side) -> Self {
        Self { name: name.to_owned(), words: words.to_owned(), old, new }
    }

    /// Of two folders of IDX files.
    pub(crate) fn of_folders(name: &str, folders: &[impl AsRef<Path>; 2]) -> Result<Self> {
        let [old, new] = folders.each_ref().map(|folder| Set::read(folder.as_ref()));
        Ok(Self::new(name, name, Side::of(&old?, &[]), Side::of(&new?, &[])))
    }
}

const FASHION: &str =
    "T-shirt/top\nTrouser\nPullover\nDress\nCoat\nSandal\nShirt\nSneaker\nBag\nAnkle boot\n";

/// The pairs that the project has the data for, and that with Fashion-MNIST if it is there.
pub(crate) fn bundled(fashion: &Path) -> Result<Vec<Pair>> {
    let mnist = Set::read(&process::root().join("crates/data/mnist"))?;
    let turned = Set { train: mnist.train.turned(), test: mnist.test.turned(), ..mnist.clone() };
    let (low, high) = ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]);
    let (digits, five) = (Side::of(&mnist, &[]), Side::of(&mnist, &low));
    let mut pairs = vec![
        Pair::new("halves", "digits 0 to 4, then all ten", five.clone(), digits.clone()),
        Pair::new("others", "digits 0 to 4, then 5 to 9", five, Side::of(&mnist, &high)),
        Pair::new(
            "turned",
            "digits, then turned by a quarter",
            digits.clone(),
            Side::of(&turned, &[]),
        ),
        writers(&mnist),
    ];
    match Set::read(fashion) {
        Ok(clothes) => {
            let clothes = Side::of(&clothes.named(FASHION), &[]);
            pairs.push(Pair::new("fashion", "digits, then clothes", digits, clothes));
        }
        Err(error) => {
            println!("the pair `fashion` is left out: {error:#}; --fashion names a folder");
        }
    }
    Ok(pairs)
}

/// The first half of MNIST's test samples was written by employees of the Census Bureau, the second
/// by students: no writer is in both.
fn writers(mnist: &Set) -> Pair {
    let [employees, students] = [0, 5000].map(|first| {
        let [train, test] = [first..first + 4000, first + 4000..first + 5000]
            .map(|rows| mnist.test.at(&rows.collect::<Vec<_>>()));
        Side::of(&Set { train, test, ..mnist.clone() }, &[])
    });
    Pair::new("writers", "digits of employees, then of students", employees, students)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_made_of_what_is_bundled() {
        let pairs = bundled(Path::new("nowhere")).unwrap();
        let of = |name: &str| pairs.iter().find(|pair| pair.name == name).unwrap();
        assert_eq!(pairs.len(), 4);
        // Digits of 0 to 4 among the 60,000, as the labels of the file have them.
        assert_eq!((of("halves").old.rows(), of("halves").new.rows()), (30_596, 60_000));
        assert_eq!(of("others").new.rows(), 29_404);
        assert_eq!([of("writers").old.rows(), of("writers").new.rows()], [4000, 4000]);
        assert_eq!(of("turned").new.drawn(100, 1).train.len(), 100);
    }
}
