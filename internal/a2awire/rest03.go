package a2awire

import (
	"encoding/json"
	"strings"
)

// protoNames gives the message of a 0.3 request its name in JSON where a client,
// such as the official one for Python, wrote its name in the schema: request.
func protoNames(path string, body []byte) []byte {
	if !strings.HasPrefix(path, "/v1/message:") {
		return body
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object["request"] == nil || object["message"] != nil {
		return body // the SDK says what is wrong with it
	}
	object["message"] = object["request"]
	delete(object, "request")
	renamed, err := json.Marshal(object)
	if err != nil {
		return body
	}
	return renamed
}
