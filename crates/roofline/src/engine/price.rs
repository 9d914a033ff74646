//! The price of an engine's GPUs.

use super::EngineFacts;
use crate::spec::gpu::ListPrice;

/// Price of one GPU of an engine per hour, with its origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GpuHourPrice<'a> {
    /// Dollars per GPU-hour.
    pub dollars: f64,
    /// The list that it comes from; `None` if the user set it.
    pub listed: Option<&'a ListPrice>,
}

impl GpuHourPrice<'_> {
    /// The origin: `configured`, or the seller and the date.
    #[must_use]
    pub fn origin(&self) -> String {
        self.listed.map_or_else(
            || "configured".to_owned(),
            |list| format!("list price of {}, {}", list.seller, list.as_of),
        )
    }
}

impl EngineFacts {
    /// The price of one GPU: the `configured` one, otherwise the list price of the engine's kind of GPU, if the table has one.
    #[must_use]
    pub fn gpu_hour_price(&self, configured: Option<f64>) -> Option<GpuHourPrice<'_>> {
        if let Some(dollars) = configured {
            return Some(GpuHourPrice {
                dollars,
                listed: None,
            });
        }
        let list = self.gpu.as_ref()?.list_price.as_ref()?;
        Some(GpuHourPrice {
            dollars: list.dollars_per_hour,
            listed: Some(list),
        })
    }

    /// Dollars per second for all GPUs of the engine.
    #[must_use]
    pub fn dollars_per_second(&self, configured: Option<f64>) -> Option<f64> {
        let price = self.gpu_hour_price(configured)?;
        Some(price.dollars * self.gpus() / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::gpu::GpuTable;

    fn facts(gpu: &str) -> EngineFacts {
        let table = GpuTable::embedded().unwrap();
        EngineFacts {
            gpu: Some(table.find(gpu).unwrap().clone()),
            gpu_uuids: vec!["a".into(), "b".into()],
            ..EngineFacts::default()
        }
    }

    #[test]
    fn the_users_price_wins_over_the_list() {
        let facts = facts("H100");
        let listed = facts.gpu_hour_price(None).unwrap();
        let list = facts.gpu.as_ref().unwrap().list_price.as_ref().unwrap();
        assert_eq!(listed.dollars.to_bits(), list.dollars_per_hour.to_bits());
        assert!(listed.origin().contains(&list.as_of));
        let own = facts.gpu_hour_price(Some(1.8)).unwrap();
        assert_eq!(
            (own.dollars.to_bits(), own.listed),
            (1.8_f64.to_bits(), None)
        );
        assert!((facts.dollars_per_second(Some(1.8)).unwrap() - 0.001).abs() < 1e-12);
    }

    #[test]
    fn a_gpu_without_a_list_price_has_none() {
        let facts = facts("T4");
        assert_eq!(facts.gpu_hour_price(None), None);
        assert!(facts.gpu_hour_price(Some(0.5)).is_some());
    }
}
