//! The page of a dcgm-exporter or AMD's exporter: each GPU is read once, and the selection is respected.

use std::collections::BTreeSet;
use std::time::Duration;

use roofline::units::Seconds;
use vllm_roofline_exporter::address::{Address, RequestOptions};
use vllm_roofline_exporter::source::gpu::{DcgmSource, Selection};

/// `data` as pages separated by zero bytes, read by three sources with different selections.
pub fn holds(data: &[u8]) {
    let of_pod = Selection {
        pod: Some("models/vllm-0".to_owned()),
        ..Selection::default()
    };
    let of_device = Selection {
        devices: vec!["0".to_owned()],
        ..Selection::default()
    };
    for selection in [Selection::default(), of_pod, of_device] {
        let url = Address::from("http://127.0.0.1:9400/metrics".to_owned());
        let options = RequestOptions {
            limit: Duration::from_secs(1),
            ..RequestOptions::default()
        };
        let mut source = DcgmSource::new(&url, selection, &options).expect("a good URL");
        for (place, page) in super::parts(data).take(3).enumerate() {
            let sight = source.look(page, Seconds(1e9 + 100.0 * place as f64));
            assert!(
                sight.problem.is_some() || !sight.readings.is_empty(),
                "neither a reading nor a reason"
            );
            let uuids: BTreeSet<_> = sight.readings.iter().map(|gpu| &gpu.uuid).collect();
            assert_eq!(uuids.len(), sight.readings.len(), "a GPU stands twice");
        }
    }
}
