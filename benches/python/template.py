"""A rotation function of the shape that AWS's Python template has: a client made in the handler, four steps, and no
more requests than they need. It has none of the care that a rotation needs; it is here to be measured.

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
    elif event["Step"] == "setSecret":
        value(client, arn, "AWSPENDING", token)
        value(client, arn, "AWSCURRENT")
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
    answer = control(client, http, current, "POST", "/iam/v2/api-keys", {"spec": spec})
    made = json.loads(answer)
    current["apiKey"], current["apiSecret"] = made["id"], made["spec"]["secret"]
    client.put_secret_value(
        SecretId=arn,
        ClientRequestToken=token,
        SecretString=json.dumps(current),
        VersionStages=["AWSPENDING"],
        RotationToken=event["RotationToken"],
    )


def test(client, http, pending):
    path = "/cmk/v2/clusters/{resourceId}?environment={environmentId}".format(**pending)
    cluster = json.loads(control(client, http, pending, "GET", path))
    path = "/kafka/v3/clusters/{resourceId}/topics".format(**pending)
    send(http, "GET", cluster["spec"]["http_endpoint"] + path, pending)


def finish(client, http, arn, token, versions):
    current = value(client, arn, "AWSCURRENT")
    left = next(version for version, labels in versions.items() if "AWSCURRENT" in labels)
    client.update_secret_version_stage(
        SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=left
    )
    control(client, http, current, "DELETE", "/iam/v2/api-keys/" + current["apiKey"])


def value(client, arn, label, version=None):
    named = {"VersionId": version} if version else {}
    return json.loads(client.get_secret_value(SecretId=arn, VersionStage=label, **named)["SecretString"])


def control(client, http, secret, method, path, body=None):
    return send(http, method, CONFLUENT + path, value(client, secret["adminSecretArn"], "AWSCURRENT"), body)


def send(http, method, url, key, body=None):
    headers = urllib3.make_headers(basic_auth=key["apiKey"] + ":" + key["apiSecret"])
    headers["Content-Type"] = "application/json"
    sent = json.dumps(body) if body else None
    answer = http.request(method, url, headers=headers, body=sent)
    if answer.status >= 300:
        raise ValueError(method + " " + str(answer.status))
    return answer.data
