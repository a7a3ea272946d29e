//! Parts of a data set that have every class in the same proportion, drawn by a seed.

use crate::error::{Error, Result};

/// A generator of random numbers (SplitMix64) whose sequence is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle(&mut self, list: &mut [usize]) {
        for i in (1..list.len()).rev() {
            list.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

/// The positions of each class's examples, in random order.
fn shuffled(classes: &[usize], seed: u64) -> Vec<Vec<usize>> {
    let count = classes.iter().max().map_or(0, |largest| largest + 1);
    let mut positions = vec![Vec::new(); count];
    classes.iter().enumerate().for_each(|(position, class)| positions[*class].push(position));
    let mut random = Random(seed);
    positions.iter_mut().for_each(|list| random.shuffle(list));
    positions
}

/// Sets a share of each class's examples apart, to measure a classifier on examples that it was not trained on: returns the
/// positions of those to train on and of those to hold out, each sorted. Of every class with two examples or more, at least one is held out and
/// one is not. The same seed gives the same parts.
///
/// # Errors
/// [`Error::Argument`] for a share that is not between 0 and 1, and for a class with a single example.
pub fn split(classes: &[usize], share: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::argument("share", format!("{share}: a share between 0 and 1 is held out")));
    }
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (class, positions) in shuffled(classes, seed).into_iter().enumerate() {
        if positions.len() == 1 {
            let reason = format!("class {class} has a single example, and one must be held out");
            return Err(Error::argument("classes", reason));
        }
        let most = positions.len().saturating_sub(1);
        let held_out = ((positions.len() as f64 * share).round() as usize).clamp(1.min(most), most);
        test.extend(&positions[..held_out]);
        train.extend(&positions[held_out..]);
    }
    train.sort_unstable();
    test.sort_unstable();
    Ok((train, test))
}

/// The fold of each example, from 0 to below `count`, for cross-validation. The examples of a class are dealt to the folds in turn, so that
/// no two folds differ by more than one example of a class. The same seed gives the same folds.
///
/// # Errors
/// [`Error::Argument`] for less than two folds, and for a class with fewer examples than folds.
pub fn folds(classes: &[usize], count: usize, seed: u64) -> Result<Vec<usize>> {
    if count < 2 {
        return Err(Error::argument("folds", format!("{count} folds: cross-validation needs 2 or more")));
    }
    let (mut fold, mut next) = (vec![0; classes.len()], 0);
    for (class, positions) in shuffled(classes, seed).into_iter().enumerate() {
        if (1..count).contains(&positions.len()) {
            let examples = if positions.len() == 1 { "example" } else { "examples" };
            let reason = format!("class {class} has {} {examples} for {count} folds", positions.len());
            return Err(Error::argument("folds", reason));
        }
        for position in positions {
            fold[position] = next % count;
            next += 1;
        }
    }
    Ok(fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_have_every_class() {
        let classes: Vec<usize> = (0..103).map(|i| i % 10).collect();
        let (train, test) = split(&classes, 0.2, 7).unwrap();
        let mut all = [train.clone(), test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..103).collect::<Vec<_>>());
        for class in 0..10 {
            assert_eq!(test.iter().filter(|i| classes[**i] == class).count(), 2);
        }
        assert_eq!(split(&classes, 0.2, 7).unwrap(), (train, test.clone()));
        assert_ne!(split(&classes, 0.2, 8).unwrap().1, test);
        assert_eq!(split(&[0, 0], 0.01, 0).unwrap().1.len(), 1);
        assert_eq!(split(&[0, 0], 0.99, 0).unwrap().0.len(), 1);
    }

    #[test]
    fn folds_differ_by_one_example_of_a_class() {
        let classes: Vec<usize> = (0..57).map(|i| i % 3).collect();
        let fold = folds(&classes, 5, 1).unwrap();
        for class in 0..3 {
            let sizes: Vec<usize> =
                (0..5).map(|f| (0..57).filter(|i| classes[*i] == class && fold[*i] == f).count()).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
        let sizes: Vec<usize> = (0..5).map(|f| fold.iter().filter(|at| **at == f).count()).collect();
        assert!(sizes.iter().all(|size| (11..=12).contains(size)), "{sizes:?}");
    }

    #[test]
    fn what_can_not_be_split_is_refused() {
        for share in [0.0, 1.0, f64::NAN] {
            assert!(split(&[0, 0], share, 0).is_err());
        }
        assert!(split(&[0, 0, 1], 0.5, 0).unwrap_err().to_string().contains("class 1 has a single example"));
        assert!(folds(&[0, 0, 0, 1, 1], 3, 0).unwrap_err().to_string().contains("class 1 has 2 examples for 3 folds"));
        assert!(folds(&[0, 0], 1, 0).is_err());
    }
}
