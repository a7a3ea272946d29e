//! Where a model's files are, those of an adapter's base model among them.

use crate::checkpoint::Place;
use crate::error::Result;

/// The place of a model at a path. If it is an adapter whose base model is named by its name on the hub, the base is looked for
/// in the hub's cache; nobody is asked.
///
/// # Errors
/// As [`Place::base_on_hub`].
#[cfg(feature = "hub")]
pub fn located(path: &str) -> Result<Place> {
    use crate::hub::{Settings, is_name, pull};
    let mut place = Place::from(path);
    if std::path::Path::new(path).exists()
        && let Some(name) = Place::base_on_hub(path)?.filter(|name| is_name(name))
    {
        let settings = Settings { offline: true, ..Settings::from_env() };
        // Where the cache does not have it, opening says what is missing.
        place.base = pull(&name, &settings, &mut |_, _| ()).ok().map(|found| found.folder);
    }
    Ok(place)
}

/// The place of a model at a path.
///
/// # Errors
/// None.
#[cfg(not(feature = "hub"))]
pub fn located(path: &str) -> Result<Place> {
    Ok(Place::from(path))
}
