//! Operator state dealt out anew when an operator is restored (S2, S3, C8).
//!
//! Pure functions over what the old subtasks held, in the order of their index. Every new subtask computes
//! its own share; together the shares hold each element of a list state exactly once, whatever the two
//! parallelisms.

use wasmill_model::function::OperatorStateMode;

/// The share of new subtask `index` of `parallelism`, of what `old` subtasks held.
///
/// | mode | share |
/// |---|---|
/// | list | at the same parallelism what the subtask had; else all elements in order, cut into contiguous parts whose sizes differ by at most one, the larger first (Flink's round-robin split) |
/// | union | all elements of all subtasks, in order |
/// | broadcast | what one old subtask held: its own, or the first one that is not empty |
///
/// An index that is not below `parallelism` has no share of a list.
pub fn redistribute<T: Clone>(
    mode: OperatorStateMode,
    old: &[Vec<T>],
    index: u32,
    parallelism: u32,
) -> Vec<T> {
    match mode {
        OperatorStateMode::List if old.len() == parallelism as usize => {
            old.get(index as usize).cloned().unwrap_or_default()
        }
        OperatorStateMode::List => split(old, index as usize, parallelism as usize),
        OperatorStateMode::Union => old.iter().flatten().cloned().collect(),
        OperatorStateMode::Broadcast => old
            .get(index as usize)
            .filter(|own| !own.is_empty())
            .or_else(|| old.iter().find(|list| !list.is_empty()))
            .cloned()
            .unwrap_or_default(),
    }
}

/// The raw state of new subtask `index`: what it had, where the parallelism is the same. Opaque bytes
/// cannot be split, so at another parallelism there is none.
pub fn raw_state(old: &[Vec<u8>], index: u32, parallelism: u32) -> Option<&[u8]> {
    (old.len() == parallelism as usize)
        .then(|| old.get(index as usize))
        .flatten()
        .map(Vec::as_slice)
}

fn split<T: Clone>(old: &[Vec<T>], index: usize, parallelism: usize) -> Vec<T> {
    if index >= parallelism {
        return Vec::new();
    }
    let total: usize = old.iter().map(Vec::len).sum();
    let (base, larger) = (total / parallelism, total % parallelism);
    let start = index * base + index.min(larger);
    let length = base + usize::from(index < larger);
    old.iter().flatten().skip(start).take(length).cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(mode: OperatorStateMode, old: &[Vec<u32>], parallelism: u32) -> Vec<Vec<u32>> {
        (0..parallelism)
            .map(|index| redistribute(mode, old, index, parallelism))
            .collect()
    }

    #[test]
    fn a_list_is_cut_into_contiguous_parts_of_nearly_one_size() {
        let old = [vec![1, 2, 3, 4], vec![], vec![5]];
        assert_eq!(
            shares(OperatorStateMode::List, &old, 2),
            [vec![1, 2, 3], vec![4, 5]]
        );
        assert_eq!(shares(OperatorStateMode::List, &old, 1), [vec![1, 2, 3, 4, 5]]);
    }

    #[test]
    fn at_the_same_parallelism_every_subtask_gets_its_own_list_back() {
        let old = [vec![1, 2, 3, 4], vec![], vec![5]];
        assert_eq!(shares(OperatorStateMode::List, &old, 3), old);
    }

    #[test]
    fn a_union_is_given_whole_to_all() {
        let old = [vec![1], vec![2, 3]];
        assert_eq!(
            shares(OperatorStateMode::Union, &old, 2),
            [vec![1, 2, 3], vec![1, 2, 3]]
        );
    }

    #[test]
    fn broadcast_state_is_one_copy_for_each() {
        let old = [vec![], vec![7, 8]];
        assert_eq!(shares(OperatorStateMode::Broadcast, &old, 3), vec![vec![7, 8]; 3]);
    }

    #[test]
    fn raw_state_survives_at_the_same_parallelism_only() {
        let old = [b"a".to_vec(), b"b".to_vec()];
        assert_eq!(raw_state(&old, 1, 2), Some(&b"b"[..]));
        assert_eq!(raw_state(&old, 0, 1), None);
        assert_eq!(raw_state(&old, 2, 2), None);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        for mode in [
            OperatorStateMode::List,
            OperatorStateMode::Union,
            OperatorStateMode::Broadcast,
        ] {
            assert!(redistribute::<u32>(mode, &[], 0, 4).is_empty());
            assert!(redistribute::<u32>(mode, &[vec![], vec![]], 9, 4).is_empty());
        }
    }

    proptest! {
        #[test]
        fn the_shares_of_a_list_hold_every_element_once_and_in_order(
            old in prop::collection::vec(prop::collection::vec(any::<u32>(), 0..9), 0..9),
            parallelism in 1u32..12,
        ) {
            let new = shares(OperatorStateMode::List, &old, parallelism);
            prop_assert_eq!(new.concat(), old.concat());
            if old.len() != parallelism as usize {
                let sizes: Vec<usize> = new.iter().map(Vec::len).collect();
                prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            }
        }
    }
}
