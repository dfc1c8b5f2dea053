//! Finding our containers by their labels.

use std::collections::HashMap;

use anyhow::Result;
use bollard::{Docker, models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};

use crate::{
    engine::failed,
    names::{self, Role},
};

/// All containers of a role, running or not.
pub(crate) async fn with_role(docker: &Docker, role: Role) -> Result<Vec<ContainerSummary>> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{}={role}", names::ROLE)])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    docker
        .list_containers(Some(options))
        .await
        .map_err(|error| failed("listing containers", &error))
}

/// A label's value, or nothing.
pub(crate) fn label<'a>(container: &'a ContainerSummary, key: &str) -> &'a str {
    container
        .labels
        .as_ref()
        .and_then(|labels| labels.get(key))
        .map_or("", String::as_str)
}
