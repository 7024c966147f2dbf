//! The function `build-worker`.

fn main() -> Result<(), lambdas::RuntimeError> {
    lambdas::serve(lambdas::build_worker::handle)
}
