//! The platform that repositories are evaluated and built with: our own programs where they run, and
//! small files in the place of what a medium brings besides.

use std::fs;
use std::path::Path;

use bedplate_tools::command::CommandError;
use bedplate_tools::cpio::Archive;
use bedplate_tools::{ldd, patchelf};
use serde_json::{Value, json};

use super::Evaluation;
use crate::failure::{Failure, file};

/// The builder of toplevels.
const BUILDER: &str = "bedplate-host";

fn failed(error: CommandError) -> Failure {
    Failure::Unfit(error.to_string())
}

impl Evaluation {
    /// A `platform.json` whose paths are in the store, each a small file: enough to evaluate with.
    pub fn description(&self) -> Result<String, Failure> {
        let mut description = self.supplied()?;
        for (key, name) in [("runtime", "bedplate-runtime"), ("programs", "bedplate-programs")] {
            let part = self.place().join(name);
            fs::write(&part, name).map_err(file("write", &part))?;
            description[key] = self.add(name, &part)?;
        }
        Ok(description.to_string())
    }

    /// As [`Self::description`], with the `bedplate-host` of `binaries`: toplevels can be built.
    pub fn platform(&self, binaries: &Path) -> Result<String, Failure> {
        let mut description = self.supplied()?;
        let program = binaries.join(BUILDER);
        let runtime = self.place().join("runtime");
        fs::create_dir_all(runtime.join("lib")).map_err(file("make", &runtime))?;
        for library in ldd::libraries(&program).map_err(failed)?.map_err(Failure::Unfit)? {
            let target = runtime.join("lib").join(library.file_name().unwrap_or_default());
            fs::copy(&library, &target).map_err(file("copy", &library))?;
            let name = target.to_string_lossy().into_owned();
            if !name.contains("/ld-linux") && !name.ends_with("/libc.so.6") {
                patchelf::set_rpath(&target, "$ORIGIN").map_err(failed)?;
            }
        }
        let runtime = self.add("bedplate-runtime", &runtime)?;
        let libraries = format!("{}/lib", runtime["path"].as_str().unwrap_or_default());
        let programs = self.place().join("programs");
        let target = programs.join("bin").join(BUILDER);
        fs::create_dir_all(programs.join("bin")).map_err(file("make", &programs))?;
        fs::copy(&program, &target).map_err(file("copy", &program))?;
        let loader = format!("{libraries}/ld-linux-x86-64.so.2");
        patchelf::set_loader(&target, &loader, &libraries).map_err(failed)?;
        description["programs"] = self.add("bedplate-programs", &programs)?;
        description["runtime"] = runtime;
        Ok(description.to_string())
    }

    /// What toplevels only name, and the two archives that their initrd begins with.
    fn supplied(&self) -> Result<Value, Failure> {
        let mut description = json!({ "kernelVersion": "6.12.0" });
        let parts = [
            ("tree", "bedplate-tree"),
            ("initrdModules", "bedplate-initrd-modules"),
            ("initrdProgram", "bedplate-initrd-program"),
        ];
        for (key, name) in parts {
            let part = self.place().join(name);
            let mut archive = Archive::new(Vec::new());
            let written = archive.file(name, 0o444, name.as_bytes());
            let bytes = written.and_then(|()| archive.finish()).map_err(file("make", &part))?;
            fs::write(&part, bytes).map_err(file("write", &part))?;
            description[key] = self.add(name, &part)?;
        }
        Ok(description)
    }
}
