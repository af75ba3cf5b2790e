package aws

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// sts answers for the Security Token Service (AWS Query).
func (c *Cloud) sts(w http.ResponseWriter, r *http.Request, body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	action := form.Get("Action")
	var owner string
	code := ""
	if action != "AssumeRoleWithWebIdentity" {
		var caller key
		caller, _, code = c.caller(r, body, "sts")
		owner = caller.owner
	}
	c.calls = append(c.calls, strings.TrimSpace("sts "+action+" "+owner))
	role := c.role(form)
	switch {
	case code != "":
	case action == "GetCallerIdentity":
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:%s</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>", owner)
		return
	case role == nil:
		code = "AccessDenied"
	case action == "AssumeRole" && role.WebIdentity == "", action == "AssumeRoleWithWebIdentity" && role.WebIdentity != "":
		_, name, _ := strings.Cut(role.ARN, ":role/")
		id, k := c.issue("role/"+name, *role)
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken>"+
			"<Expiration>%s</Expiration></Credentials><AssumedRoleUser><Arn>%s</Arn><AssumedRoleId>AROAX:dray</AssumedRoleId></AssumedRoleUser></%[1]sResult></%[1]sResponse>",
			action, id, k.secret, k.session, k.ends.UTC().Format(time.RFC3339), role.ARN)
		return
	default:
		code = "AccessDenied"
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusForbidden)
	var message strings.Builder
	_ = xml.EscapeText(&message, []byte("User: "+owner+" is not authorized to perform: sts:"+action+" on resource: "+form.Get("RoleArn")))
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, message.String())
}

// role returns the role that a request may assume; nil for none.
func (c *Cloud) role(form url.Values) *Role {
	for _, role := range c.options.Roles {
		if role.ARN == form.Get("RoleArn") && role.ExternalID == form.Get("ExternalId") && role.WebIdentity == form.Get("WebIdentityToken") {
			return &role
		}
	}
	return nil
}

// container answers as the agents of ECS and of EKS Pod Identity do.
func (c *Cloud) container(w http.ResponseWriter, r *http.Request) {
	c.calls = append(c.calls, "container credentials")
	if r.Header.Get("Authorization") != c.options.Container {
		http.Error(w, `{"code":"AccessDenied","message":"no"}`, http.StatusForbidden)
		return
	}
	c.give(w, "role/container")
}

func (c *Cloud) give(w http.ResponseWriter, owner string) {
	id, k := c.issue(owner, Role{})
	_ = json.NewEncoder(w).Encode(map[string]string{
		"Code": "Success", "AccessKeyId": id, "SecretAccessKey": k.secret, "Token": k.session, "Expiration": k.ends.UTC().Format(time.RFC3339),
	})
}

// metadataToken is the session token of the metadata service.
const metadataToken = "imds-s3ssion"

// instance answers as the metadata service of an instance does, version 2 only.
func (c *Cloud) instance(w http.ResponseWriter, r *http.Request) {
	c.calls = append(c.calls, "metadata "+r.Method)
	path, isRole := strings.CutPrefix(r.URL.Path, "/latest/meta-data/iam/security-credentials/")
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = io.WriteString(w, metadataToken)
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != metadataToken:
		w.WriteHeader(http.StatusUnauthorized)
	case !isRole || c.options.Instance == "" || path != "" && path != c.options.Instance:
		w.WriteHeader(http.StatusNotFound)
	case path == "":
		_, _ = io.WriteString(w, c.options.Instance)
	default:
		c.give(w, "role/"+path)
	}
}
