//! The function `regional-sync`.

fn main() -> Result<(), lambdas::RuntimeError> {
    lambdas::serve(lambdas::regional_sync::handle)
}
