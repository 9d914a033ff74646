//! The batches that a sweep tries.

/// How batches follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum BatchSteps {
    /// Each is a multiple of the one before.
    #[default]
    Geometric,
    /// Each is so many more than the one before.
    Linear,
}

/// Batches from `start` to `end`, both included; `step` is the factor, or the increment.
#[must_use]
pub fn batches(start: u32, end: u32, steps: BatchSteps, step: u32) -> Vec<u32> {
    let next = |batch: &u32| match steps {
        BatchSteps::Geometric => batch.checked_mul(step.max(2)),
        BatchSteps::Linear => batch.checked_add(step.max(1)),
    };
    let mut batches: Vec<u32> = std::iter::successors(Some(start), next)
        .take_while(|batch| *batch < end)
        .collect();
    batches.push(end);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_tried() {
        let check = |start, end, steps, step, expected: &[u32]| {
            assert_eq!(batches(start, end, steps, step), expected);
        };
        check(1, 16, BatchSteps::Geometric, 2, &[1, 2, 4, 8, 16]);
        check(1, 20, BatchSteps::Geometric, 3, &[1, 3, 9, 20]);
        check(2, 8, BatchSteps::Linear, 3, &[2, 5, 8]);
        check(1, 4, BatchSteps::Linear, 1, &[1, 2, 3, 4]);
        check(7, 7, BatchSteps::Geometric, 2, &[7]);
        check(
            1,
            u32::MAX,
            BatchSteps::Geometric,
            1 << 30,
            &[1, 1 << 30, u32::MAX],
        );
    }
}
