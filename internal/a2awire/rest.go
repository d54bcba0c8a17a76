package a2awire

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
)

// newREST answers HTTP+JSON 1.0.
func newREST(h a2asrv.RequestHandler) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := answer(r)
			if err != nil {
				writeRESTError(w, r, err)
				return
			}
			writeJSON(w, r, http.StatusOK, out)
		})
	}
	handle("POST /message:send", func(r *http.Request) (any, error) {
		var in a2a.SendMessageRequest
		if err := decodeBody(r, &in); err != nil {
			return nil, err
		}
		out, err := h.SendMessage(r.Context(), &in)
		return a2a.StreamResponse{Event: out}, err // a message or a task, named as in a stream
	})
	mux.HandleFunc("POST /message:stream", func(w http.ResponseWriter, r *http.Request) {
		var in a2a.SendMessageRequest
		if err := decodeBody(r, &in); err != nil {
			writeRESTError(w, r, err)
			return
		}
		writeRESTStream(w, r, h.SendStreamingMessage(r.Context(), &in))
	})
	subscribe := func(w http.ResponseWriter, r *http.Request, id string) {
		writeRESTStream(w, r, h.SubscribeToTask(r.Context(), &a2a.SubscribeToTaskRequest{ID: a2a.TaskID(id)}))
	}
	handle("GET /tasks", func(r *http.Request) (any, error) {
		in, err := listQuery(camelQuery(r.URL.Query()))
		if err != nil {
			return nil, err
		}
		return h.ListTasks(r.Context(), in)
	})
	// The specification has SubscribeToTask by POST, its protocol definition by GET.
	mux.HandleFunc("GET /tasks/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, ok := strings.CutSuffix(r.PathValue("id"), ":subscribe")
		if ok {
			subscribe(w, r, id)
			return
		}
		in := &a2a.GetTaskRequest{ID: a2a.TaskID(id)}
		var err error
		if in.HistoryLength, err = queryInt(camelQuery(r.URL.Query()), "historyLength"); err != nil {
			writeRESTError(w, r, err)
			return
		}
		out, err := h.GetTask(r.Context(), in)
		if err != nil {
			writeRESTError(w, r, err)
			return
		}
		writeJSON(w, r, http.StatusOK, out)
	})
	mux.HandleFunc("POST /tasks/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, action, _ := strings.Cut(r.PathValue("id"), ":")
		switch action {
		case "subscribe":
			subscribe(w, r, id)
		case "cancel":
			in := &a2a.CancelTaskRequest{}
			err := decodeBody(r, in)
			in.ID = a2a.TaskID(id)
			var out *a2a.Task
			if err == nil {
				out, err = h.CancelTask(r.Context(), in)
			}
			if err != nil {
				writeRESTError(w, r, err)
				return
			}
			writeJSON(w, r, http.StatusOK, out)
		default:
			unknownPath(w, r)
		}
	})
	pushConfigs(handle, h)
	handle("GET /extendedAgentCard", func(r *http.Request) (any, error) {
		return extendedCard(r.Context(), h, &a2a.GetExtendedAgentCardRequest{})
	})
	mux.HandleFunc("/", unknownPath)
	return mux
}

func pushConfigs(handle func(string, func(*http.Request) (any, error)), h a2asrv.RequestHandler) {
	const all, one = "/tasks/{id}/pushNotificationConfigs", "/tasks/{id}/pushNotificationConfigs/{config}"
	handle("POST "+all, func(r *http.Request) (any, error) {
		var in a2a.PushConfig
		if err := decodeBody(r, &in); err != nil {
			return nil, err
		}
		in.TaskID = a2a.TaskID(r.PathValue("id"))
		return h.CreateTaskPushConfig(r.Context(), &in)
	})
	handle("GET "+all, func(r *http.Request) (any, error) {
		query := camelQuery(r.URL.Query())
		size, err := queryInt(query, "pageSize")
		if err != nil {
			return nil, err
		}
		in := &a2a.ListTaskPushConfigRequest{TaskID: a2a.TaskID(r.PathValue("id")), PageToken: query.Get("pageToken")}
		if size != nil {
			in.PageSize = *size
		}
		return h.ListTaskPushConfigs(r.Context(), in)
	})
	handle("GET "+one, func(r *http.Request) (any, error) {
		return h.GetTaskPushConfig(r.Context(), &a2a.GetTaskPushConfigRequest{TaskID: a2a.TaskID(r.PathValue("id")), ID: r.PathValue("config")})
	})
	handle("DELETE "+one, func(r *http.Request) (any, error) {
		return struct{}{}, h.DeleteTaskPushConfig(r.Context(), &a2a.DeleteTaskPushConfigRequest{TaskID: a2a.TaskID(r.PathValue("id")), ID: r.PathValue("config")})
	})
}

func unknownPath(w http.ResponseWriter, r *http.Request) {
	writeRESTError(w, r, a2a.NewError(a2a.ErrMethodNotFound, fmt.Sprintf("A2A 1.0 has no %s %s", r.Method, r.URL.Path)))
}

func writeRESTStream(w http.ResponseWriter, r *http.Request, events iter.Seq2[a2a.Event, error]) {
	writeStream(w, r, events, func(e a2a.Event) any { return a2a.StreamResponse{Event: e} },
		func(err error) any { return restFault(err) }, func(err error) { writeRESTError(w, r, err) })
}

// bodyKey is where a request's context has its body, once it was read and checked.
type bodyKey struct{}

func withBody(r *http.Request, body []byte) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), bodyKey{}, body))
}

// decodeBody decodes the body; an empty one is an empty object.
func decodeBody(r *http.Request, into any) error {
	body, _ := r.Context().Value(bodyKey{}).([]byte)
	if len(body) == 0 {
		return nil
	}
	return decode(camelCase(body), into)
}

func listQuery(query url.Values) (*a2a.ListTasksRequest, error) {
	in := &a2a.ListTasksRequest{ContextID: query.Get("contextId"), Status: a2a.TaskState(query.Get("status")), PageToken: query.Get("pageToken")}
	size, err := queryInt(query, "pageSize")
	if err != nil {
		return nil, err
	}
	if size != nil {
		if in.PageSize = *size; *size == 0 {
			in.PageSize = -1 // asked for none, where 0 stands for the default
		}
	}
	if in.HistoryLength, err = queryInt(query, "historyLength"); err != nil {
		return nil, err
	}
	if v := query.Get("includeArtifacts"); v != "" {
		if in.IncludeArtifacts, err = strconv.ParseBool(v); err != nil {
			return nil, a2a.NewError(a2a.ErrInvalidParams, fmt.Sprintf("includeArtifacts=%q: want true or false", v))
		}
	}
	if v := query.Get("statusTimestampAfter"); v != "" {
		at, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return nil, a2a.NewError(a2a.ErrInvalidParams, fmt.Sprintf("statusTimestampAfter=%q: want a time as 2026-01-31T12:00:00Z", v))
		}
		in.StatusTimestampAfter = &at
	}
	return in, nil
}

func queryInt(query url.Values, key string) (*int, error) {
	v := query.Get(key)
	if v == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return nil, a2a.NewError(a2a.ErrInvalidParams, fmt.Sprintf("%s=%q: want a whole number", key, v))
	}
	return &n, nil
}
