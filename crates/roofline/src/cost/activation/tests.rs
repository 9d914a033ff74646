//! Compares the traffic rules with single kernels of vLLM 0.25 on an H200, including sizes that no rule was derived from.

use super::grouped::Grouped;
use super::{Cache, ExpertKernel, Gemm, Kernel};

const H200: Cache = Cache {
    sms: 132.0,
    l2: 62.9e6,
};

/// The fields of each line of a fixture.
fn rows(fixture: &str) -> Vec<Vec<&str>> {
    let lines = fixture.lines().filter(|line| !line.starts_with('#'));
    lines
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

/// The value that `percent` of `errors` do not exceed.
fn percentile(errors: &[f64], percent: usize) -> f64 {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn gemm(kernel: Kernel, inputs: f64, outputs: f64) -> Gemm {
    let narrow = if kernel == Kernel::Strips { 1.0 } else { 2.0 };
    Gemm {
        layers: 1.0,
        inputs,
        outputs,
        projections: 1.0,
        weight_width: narrow,
        kernel,
        operand_width: narrow,
        activation_width: 2.0,
        fused_input: false,
    }
}

/// Errors of the modelled bytes of `kernel`'s launches with at least 512 rows and with `inputs`: smaller launches read all bytes once.
fn errors(kernel: &str, of: Kernel, inputs: impl Fn(f64) -> bool) -> Vec<f64> {
    rows(include_str!("../../../tests/fixtures/kernels-h200.csv"))
        .into_iter()
        .filter(|row| row[0] == kernel && number(row[1]) >= 512.0 && inputs(number(row[2])))
        .map(|row| {
            let [tokens, inputs, outputs, megabytes] = [1, 2, 3, 4].map(|at| number(row[at]));
            let gemm = gemm(of, inputs, outputs);
            let modelled = gemm.launch(tokens, H200);
            (modelled / (megabytes * 1e6) - 1.0).abs()
        })
        .collect()
}

#[test]
fn cublas_reads_what_the_rule_says() {
    let all = errors("cublas", Kernel::Squares, |_| true);
    assert!(percentile(&all, 50) <= 0.03, "{:.3}", percentile(&all, 50));
    assert!(percentile(&all, 90) <= 0.16, "{:.3}", percentile(&all, 90));
    // Constants fitted without the sizes of K = 8,192 agree to a tenth.
    let held_out = errors("cublas", Kernel::Squares, |inputs| {
        (8000.0..9000.0).contains(&inputs)
    });
    assert!(percentile(&held_out, 50) <= 0.03);
    assert!(percentile(&held_out, 90) <= 0.12);
}

#[test]
fn cutlass_reads_what_the_rule_says() {
    let all = errors("cutlass", Kernel::Strips, |_| true);
    assert!(percentile(&all, 50) <= 0.05, "{:.3}", percentile(&all, 50));
    assert!(percentile(&all, 90) <= 0.20, "{:.3}", percentile(&all, 90));
}

#[test]
fn experts_read_what_the_rule_says() {
    let mut all = Vec::new();
    for row in rows(include_str!("../../../tests/fixtures/experts-h200.csv")) {
        let [experts, top_k, inputs, width, tokens] = [1, 2, 3, 4, 5].map(|at| number(row[at]));
        let (kernel, weight) = match (row[0], row[1], row[4]) {
            ("matmul_ogs", ..) => (ExpertKernel::MatmulOgs, 17.0 / 32.0),
            (_, "8", "14336") | (_, "128", "768") => (ExpertKernel::TritonTuned, 2.0),
            _ => (ExpertKernel::Triton, 2.0),
        };
        let tiling = kernel.tiling(tokens, experts, top_k);
        let reached = experts * (1.0 - (1.0 - top_k / experts).powf(tokens));
        let assigned = tokens * top_k;
        let read = |inputs: f64, outputs: f64, distinct_rows: f64| {
            let grouped = Grouped {
                rows: assigned,
                distinct_rows,
                row_width: inputs * 2.0,
                experts: reached,
                columns: outputs,
                weights: inputs * outputs * weight,
            };
            let once = reached * grouped.weights + assigned * grouped.row_width;
            once + grouped.again(tiling, H200)
        };
        let modelled = read(inputs, 2.0 * width, tokens) + read(width, inputs, assigned);
        let measured = (number(row[6]) + number(row[7])) * 1e6;
        all.push((modelled / measured - 1.0).abs());
    }
    assert!(percentile(&all, 50) <= 0.06, "{:.3}", percentile(&all, 50));
    assert!(percentile(&all, 80) <= 0.14, "{:.3}", percentile(&all, 80));
}

#[test]
fn small_operands_are_read_once() {
    let gemm = gemm(Kernel::Strips, 4096.0, 4096.0);
    let once = (2048.0 * 4096.0) + (4096.0 * 4096.0) + 2048.0 * 4096.0 * 2.0;
    let modelled = gemm.launch(2048.0, H200);
    assert!((modelled / once - 1.0).abs() < 1e-9, "{modelled}");
}
