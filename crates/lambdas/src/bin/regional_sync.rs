//! The function `regional-sync`.

fn main() -> Result<(), lambdas::Failure> {
    lambdas::serve(lambdas::regional_sync::handle)
}
