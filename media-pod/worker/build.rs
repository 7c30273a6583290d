//! Links the system libraries that the small subprojects in `build/subprojects` stand for.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // See `src/bio.rs`.
    println!("cargo:rustc-link-arg-bins=-Wl,--wrap=BIO_set_callback_ex");
    // After the crate's static worker library, which refers to them.
    for library in ["uv", "ssl", "crypto"] {
        println!("cargo:rustc-link-arg-bins=-l{library}");
    }
}
