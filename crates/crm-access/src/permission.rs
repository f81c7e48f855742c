/// A permission taken apart: `leads.add_lead` is the action `add` in the module `leads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission<'a> {
    /// What stands before the dot.
    pub module: &'a str,
    /// What stands between the dot and the first underscore, or the end.
    pub action: &'a str,
}

impl<'a> Permission<'a> {
    /// Reads `module.action_thing`; none unless there are exactly two parts, neither of them empty.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (module, thing) = text.split_once('.')?;
        if module.is_empty() || thing.is_empty() || thing.contains('.') {
            return None;
        }
        let action = thing.split_once('_').map_or(thing, |(action, _)| action);
        Some(Self { module, action })
    }
}
