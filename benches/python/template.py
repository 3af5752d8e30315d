"""A rotation function like AWS's Python template, for measurements: the handler creates the client, and the four steps send
only the requests that they require. It lacks the checks and the recovery that a rotation requires.

https://github.com/aws-samples/aws-secrets-manager-rotation-lambdas/blob/master/SecretsManagerRotationTemplate/lambda_function.py
"""

import json
import os

import boto3
import urllib3

CONFLUENT = os.environ["CONFLUENT_API_URL"]


def lambda_handler(event, context):
    client = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"])
    http = urllib3.PoolManager(ca_certs=os.environ.get("AWS_CA_BUNDLE"))
    arn, token = event["SecretId"], event["ClientRequestToken"]

    described = client.describe_secret(SecretId=arn)
    if not described.get("RotationEnabled"):
        raise ValueError("rotation is not enabled")
    versions = described["VersionIdsToStages"]
    if "AWSCURRENT" in versions.get(token, []):
        return
    if "AWSPENDING" not in versions.get(token, []):
        raise ValueError("the version is not pending")

    if event["Step"] == "createSecret":
        create(client, http, event)
    elif event["Step"] == "testSecret":
        test(client, http, value(client, arn, "AWSPENDING", token))
    elif event["Step"] == "finishSecret":
        finish(client, http, arn, token, versions)


def create(client, http, event):
    arn, token = event["SecretId"], event["ClientRequestToken"]
    current = value(client, arn, "AWSCURRENT")
    try:
        value(client, arn, "AWSPENDING", token)
        return
    except client.exceptions.ResourceNotFoundException:
        pass
    spec = {"owner": {"id": current["serviceAccountId"]}, "resource": {"id": current["resourceId"]}}
    created = json.loads(control_plane(client, http, current, "POST", "/iam/v2/api-keys", {"spec": spec}))
    current["apiKey"], current["apiSecret"] = created["id"], created["spec"]["secret"]
    client.put_secret_value(
        SecretId=arn,
        ClientRequestToken=token,
        SecretString=json.dumps(current),
        VersionStages=["AWSPENDING"],
        RotationToken=event["RotationToken"],
    )


def test(client, http, pending):
    path = "/cmk/v2/clusters/{resourceId}?environment={environmentId}".format(**pending)
    cluster = json.loads(control_plane(client, http, pending, "GET", path))
    path = "/kafka/v3/clusters/{resourceId}/topics".format(**pending)
    send(http, "GET", cluster["spec"]["http_endpoint"] + path, pending)


def finish(client, http, arn, token, versions):
    current = value(client, arn, "AWSCURRENT")
    current_version = next(version for version, labels in versions.items() if "AWSCURRENT" in labels)
    client.update_secret_version_stage(
        SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current_version
    )
    control_plane(client, http, current, "DELETE", "/iam/v2/api-keys/" + current["apiKey"])


def value(client, arn, label, version=None):
    selector = {"VersionId": version} if version else {}
    return json.loads(client.get_secret_value(SecretId=arn, VersionStage=label, **selector)["SecretString"])


def control_plane(client, http, secret, method, path, body=None):
    return send(http, method, CONFLUENT + path, value(client, secret["adminSecretArn"], "AWSCURRENT"), body)


def send(http, method, url, key, body=None):
    headers = urllib3.make_headers(basic_auth=key["apiKey"] + ":" + key["apiSecret"])
    headers["Content-Type"] = "application/json"
    body = json.dumps(body) if body else None
    response = http.request(method, url, headers=headers, body=body)
    if response.status >= 300:
        raise ValueError(method + " " + str(response.status))
    return response.data
