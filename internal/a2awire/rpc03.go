package a2awire

import (
	"encoding/json"
	"net/http"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
)

// defaultPush is the id of a configuration that a client of 0.3 has set or asks
// for without one.
const defaultPush = "default"

// pushRPC03 answers the two methods of 0.3 whose results the SDK writes otherwise
// than the protocol has them: an empty list as null, and null as an object.
func (s *server) pushRPC03(w http.ResponseWriter, r *http.Request, req rpcRequest) bool {
	const prefix = "tasks/pushNotificationConfig/"
	if req.Method != prefix+"list" && req.Method != prefix+"delete" {
		return false
	}
	var in struct {
		Task   string `json:"id"`
		Config string `json:"pushNotificationConfigId"`
	}
	err := decode(camelCase(req.Params), &in)
	var result any
	switch {
	case err != nil:
	case req.Method == prefix+"delete":
		if in.Config == "" {
			in.Config = defaultPush
		}
		result = json.RawMessage("null")
		err = s.handler.DeleteTaskPushConfig(r.Context(), &a2a.DeleteTaskPushConfigRequest{TaskID: a2a.TaskID(in.Task), ID: in.Config})
	default:
		var list *a2a.ListTaskPushConfigResponse
		if list, err = s.handler.ListTaskPushConfigs(r.Context(), &a2a.ListTaskPushConfigRequest{TaskID: a2a.TaskID(in.Task)}); err == nil {
			all := []any{}
			for _, c := range a2av0.FromV1PushConfigs(list.Configs) {
				all = append(all, c)
			}
			result = all
		}
	}
	if err != nil {
		writeRPCError(w, r, req.ID, err)
		return true
	}
	writeJSON(w, r, http.StatusOK, rpcReply{Version: "2.0", ID: req.ID, Result: result})
	return true
}
