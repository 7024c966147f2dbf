//! The function `region-copier`.

fn main() -> Result<(), lambdas::RuntimeError> {
    lambdas::serve(lambdas::region_copier::handle)
}
