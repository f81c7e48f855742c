/// A query string as it came: pairs in their order, repeats kept.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// The path of the request, for the links to the next and previous page.
    pub path: String,
    /// Decoded pairs.
    pub pairs: Vec<(String, String)>,
}

impl Params {
    /// Pairs for a call from code: `Params::of(&[("status", "closed")])`.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { path: String::new(), pairs }
    }

    /// The last value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether any filter on `field` is there, with or without an operator.
    pub fn mentions(&self, field: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key.split("__").next() == Some(field))
    }
}
