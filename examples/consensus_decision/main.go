// Command consensus_decision has three voters rank the answers to a question:
// A2A agents with keys, known to the hub, that answer with signed ballots.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/gowebpki/jcs"

	"conclave/examples/rest"
)

type object = map[string]any

// voter answers every request for a vote with its ranking.
type voter struct {
	name    string
	key     ed25519.PrivateKey
	ranking []string
}

// Execute implements [a2asrv.AgentExecutor].
func (v voter) Execute(_ context.Context, in *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		for _, part := range in.Message.Parts {
			assignment, _ := part.Data().(object)
			if motion, ok := assignment["motion"].(object); ok {
				yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("I rank them."), a2a.NewDataPart(v.ballot(motion))), nil)
				return
			}
		}
		yield(nil, a2a.ErrInvalidParams)
	}
}

// Cancel does nothing: a vote comes at once.
func (voter) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(func(a2a.Event, error) bool) {}
}

// ballot is bound to round and subject, and signed as canonical JSON (RFC 8785).
func (v voter) ballot(motion object) object {
	key := base64.StdEncoding.EncodeToString(v.key.Public().(ed25519.PublicKey))
	b := object{"motion": motion["id"], "round": motion["round"], "subject": motion["subject"], "voter": v.name, "role": "voter", "ranking": v.ranking, "reasons": []string{"what I know of it"}, "public_key": key}
	text, err := json.Marshal(b)
	must(err)
	text, err = jcs.Transform(text)
	must(err)
	b["signature"] = base64.StdEncoding.EncodeToString(ed25519.Sign(v.key, text))
	return b
}

func main() {
	log.SetFlags(0)
	var voters []string
	for _, ranking := range [][]string{{"sqlite", "postgres", "redis"}, {"postgres", "sqlite", "redis"}, {"postgres", "redis", "sqlite"}} {
		public, private, err := ed25519.GenerateKey(nil)
		must(err)
		v := voter{"voter-" + hex.EncodeToString(public[:4]), private, ranking} // a name belongs to the key that it was first registered with
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		go http.Serve(l, a2asrv.NewJSONRPCHandler(a2asrv.NewHandler(v)))
		must(rest.Call("POST", "/api/agents", object{"agent": object{"name": v.name, "role": "voter", "description": "Ranks stores", "skills": []string{"vote"},
			"brain": "none", "url": "http://" + l.Addr().String(), "public_key": base64.StdEncoding.EncodeToString(public)}}, nil))
		voters = append(voters, "agents/"+v.name)
	}
	hash := sha256.Sum256([]byte("Which store? postgres, sqlite or redis"))
	var motion struct{ ID string }
	must(rest.Call("POST", "/api/motions", object{"motion": object{"kind": "rank", "title": "Which store?", "options": []string{"postgres", "sqlite", "redis"},
		"subject": object{"kind": "options", "id": "store", "hash": hex.EncodeToString(hash[:])}, "authors": []string{}, "voters": voters,
		"rule": object{"name": "condorcet", "quorum": 3}, "rounds": 1, "deadline": time.Now().Add(time.Minute).UTC()}}, &motion))
	var status struct {
		Decision *struct{ Outcome, Option, Reason string }
	}
	must(rest.Call("GET", "/api/motions/"+motion.ID+"?wait_ms=30000", nil, &status))
	if status.Decision == nil {
		log.Fatal("there is no decision yet")
	}
	fmt.Printf("%s: %s (%s)\n", status.Decision.Outcome, status.Decision.Option, status.Decision.Reason)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
