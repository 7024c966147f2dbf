//! The function `build-worker`.

fn main() -> Result<(), lambdas::Failure> {
    lambdas::serve(lambdas::build_worker::handle)
}
