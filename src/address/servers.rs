//! The addresses of several servers of one kind.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::Address;

/// Maximum number of servers of one exporter: more than a node has. Each has an equal share of the limits.
const MOST_SERVERS: usize = 32;

/// One or more addresses: in a file one, or a list of them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub struct Servers {
    first: Address,
    others: Vec<Address>,
}

/// The form in a file or a flag.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a URL or a list of them")]
enum OneOrMany {
    One(Address),
    Many(Vec<Address>),
}

impl Servers {
    /// The first server; mostly the only one.
    #[must_use]
    pub const fn first(&self) -> &Address {
        &self.first
    }

    /// The only one.
    ///
    /// # Errors
    /// Several.
    pub fn only(&self) -> Result<&Address, String> {
        match self.others.len() {
            0 => Ok(&self.first),
            others => Err(format!(
                "vllm-url names {} servers, and this command reads one: give --vllm-url once",
                others + 1
            )),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether there are several.
    #[must_use]
    pub(crate) const fn are_several(&self) -> bool {
        !self.others.is_empty()
    }
}

impl TryFrom<OneOrMany> for Servers {
    type Error = String;

    fn try_from(given: OneOrMany) -> Result<Self, String> {
        let mut all = match given {
            OneOrMany::One(address) => return Ok(address.into()),
            OneOrMany::Many(all) => all.into_iter(),
        };
        let first = all.next().ok_or("the list is empty; give a URL at least")?;
        let servers = Self {
            first,
            others: all.collect(),
        };
        let count = servers.iter().count();
        if count > MOST_SERVERS {
            return Err(format!(
                "{count} servers are named, and one exporter reads {MOST_SERVERS} at most; run one for each node"
            ));
        }
        // The masked form of a URL distinguishes its series.
        let mut shown: Vec<_> = servers.iter().map(Address::server).collect();
        shown.sort();
        match shown.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("{} stands there twice", pair[0])),
            None => Ok(servers),
        }
    }
}

impl From<Address> for Servers {
    fn from(first: Address) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

impl From<String> for Servers {
    fn from(url: String) -> Self {
        Address::from(url).into()
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(formatter)?;
        self.others
            .iter()
            .try_for_each(|other| write!(formatter, ", {other}"))
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Servers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.are_several() {
            serializer.collect_seq(self.iter())
        } else {
            self.first.serialize(serializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn servers(value: serde_json::Value) -> Result<Servers, String> {
        serde_json::from_value(value).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn one_is_written_as_one_and_several_as_a_list() {
        let one = servers(json!("http://t@a")).unwrap();
        assert_eq!(one.only().unwrap().as_given(), "http://t@a");
        assert_eq!(json!(one), json!("http://<secret>@a"));
        let several = servers(json!(["http://a", "http://b"])).unwrap();
        assert!(several.are_several() && several.only().is_err());
        assert_eq!(several.to_string(), "http://a, http://b");
        assert_eq!(json!(several), json!(["http://a", "http://b"]));
        assert_eq!(
            servers(json!(["http://a"])).unwrap(),
            "http://a".to_owned().into()
        );
    }

    #[test]
    fn none_and_the_same_twice_are_refused() {
        assert!(servers(json!([])).unwrap_err().contains("empty"));
        for twice in [
            ["http://a", "http://a"],
            ["http://one@a", "http://two@a"],
            ["http://a:8000", "http://a:8000/metrics/"],
            ["http://a", "http://A:80/"],
        ] {
            let problem = servers(json!(twice)).unwrap_err();
            assert!(problem.contains("twice"), "{problem}");
        }
    }

    #[test]
    fn more_than_a_node_has_are_refused() {
        let many = |count: usize| (0..count).map(|port| format!("http://a:{port}"));
        let list = |count| servers(json!(many(count).collect::<Vec<_>>()));
        assert!(list(MOST_SERVERS).is_ok());
        let problem = list(MOST_SERVERS + 1).unwrap_err();
        assert!(problem.contains("for each node"), "{problem}");
    }
}
