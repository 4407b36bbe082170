//! nchan: a module of nginx, with a worker process for each processor.

use std::fs;
use std::path::Path;

use anyhow::Result;
use chassis::testing::free_port;

use super::found::{said, version};
use super::running::{Start, mortal, rooms};

/// Its configuration; what stands in braces is filled in.
const CONFIGURATION: &str = include_str!("../../../peers/nginx.conf");

/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Where nginx may be: only root has it among the programs.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// nginx, when the module is there too.
pub(super) fn find() -> Option<(String, String)> {
    fs::exists(MODULE).ok()?.then_some(())?;
    PROGRAMS.into_iter().find_map(|program| {
        let nginx = version(program, "-v")?;
        // The module does not say which it is; the package does.
        let package = ["--show", "--showformat", "${Version}", "libnginx-mod-nchan"];
        let module = said("dpkg-query", &package).unwrap_or_default();
        let module = module.split([':', '+']).find(|part| part.contains('.')).unwrap_or("?");
        Some((program.to_owned(), format!("{module} (nginx {nginx})")))
    })
}

pub(super) fn start(program: &str, folder: &Path) -> Result<Start> {
    let (port, configuration) = (free_port(), folder.join("nginx.conf"));
    let text = CONFIGURATION.replace("{folder}", &folder.to_string_lossy());
    let text = text.replace("{module}", MODULE).replace("{port}", &port.to_string());
    fs::write(&configuration, text)?;
    let mut command = mortal(program);
    // The log of what happens before the configuration is read belongs there too.
    command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(folder);
    command.arg("-c").arg(configuration);
    Ok(Start { command, port, speech: rooms() })
}
