//! The REST API in front of the functions that people call.

use std::collections::HashMap;

use aws_sdk_apigateway::types::IntegrationType;
use cloud::{CloudError, ROUTES};

use crate::provision::{Pipeline, told};

impl Pipeline {
    pub(crate) async fn find_api(&self, name: &str) -> Result<Option<String>, CloudError> {
        let listed = self.api.get_rest_apis().limit(500).send().await;
        let listed = listed.map_err(|error| CloudError::service("list the APIs", &error))?;
        let found = listed
            .items
            .unwrap_or_default()
            .into_iter()
            .find(|api| api.name() == Some(name));
        Ok(found.and_then(|api| api.id))
    }

    pub(crate) async fn rest_api(&self, arns: &HashMap<&str, String>) -> Result<String, CloudError> {
        let name = self.api_name();
        let id = match self.find_api(&name).await? {
            Some(id) => id,
            None => {
                let made = self.api.create_rest_api().name(&name).send().await;
                let made = made.map_err(|error| CloudError::service(format!("make API {name}"), &error))?;
                told(made.id, "make API", &name)?
            }
        };
        let listed = self.api.get_resources().rest_api_id(&id).limit(500).send().await;
        let listed = listed.map_err(|error| CloudError::service(format!("look at API {name}"), &error))?;
        let there: HashMap<String, String> = listed
            .items
            .unwrap_or_default()
            .into_iter()
            .filter_map(|resource| Some((resource.path?, resource.id?)))
            .collect();
        let root = told(there.get("/").cloned(), "find the root of API", &name)?;
        let region = self
            .cloud
            .shared()
            .region()
            .map_or("us-east-1", |region| region.as_ref());
        for (path, function) in ROUTES {
            let failed = |what: &str| format!("{what} path /{path} of API {name}");
            let resource = match there.get(&format!("/{path}")) {
                Some(resource) => resource.clone(),
                None => {
                    let request = self.api.create_resource().rest_api_id(&id).parent_id(&root);
                    let made = request.path_part(path).send().await;
                    let made = made.map_err(|error| CloudError::service(failed("make"), &error))?;
                    told(made.id, "make a path of API", &name)?
                }
            };
            let request = self.api.put_method().rest_api_id(&id).resource_id(&resource);
            let method = request.http_method("POST").authorization_type("NONE").send().await;
            if let Err(error) = method
                && !error.as_service_error().is_some_and(|e| e.is_conflict_exception())
            {
                return Err(CloudError::service(failed("let callers post to"), &error));
            }
            let arn = &arns[function];
            let uri = format!("arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations");
            let request = self.api.put_integration().rest_api_id(&id).resource_id(&resource);
            let request = request.http_method("POST").integration_http_method("POST");
            let sent = request.r#type(IntegrationType::AwsProxy).uri(uri).send().await;
            sent.map_err(|error| CloudError::service(failed("connect"), &error))?;
        }
        let request = self.api.create_deployment().rest_api_id(&id);
        let sent = request.stage_name(self.api_stage()).send().await;
        sent.map_err(|error| CloudError::service(format!("deploy API {name}"), &error))?;
        Ok(id)
    }
}
