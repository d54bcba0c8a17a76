package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/identity"
)

// silent is the verdict of a voter that never answers.
const silent conclave.Verdict = ""

// voter is an agent of the script's own, on loopback, that gives every vote the
// same verdict.
type voter struct {
	name   conclave.AgentName
	runner *a2awire.Runner
	server *http.Server
	served chan error
}

// close stops it.
func (v *voter) close() {
	_ = v.server.Close() // connections of the hub end with it
	<-v.served
	v.runner.Close()
}

// voter starts a voter and registers it.
func (s *session) voter(ctx context.Context, hub string, verdict conclave.Verdict) (*voter, error) {
	name := "seed-" + strings.ToLower(rand.Text()[:12])
	key, err := identity.LoadOrCreate(s.dir, name)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &voter{name: conclave.AgentName(name), served: make(chan error, 1)}
	url := "http://" + l.Addr().String()
	handler, runner := a2awire.NewAgentHandler(a2awire.AgentOptions{
		Card: a2awire.Card{Name: name, URL: url, Description: "Votes as it was told"}, Permission: conclave.PermitSpeak, Logger: slog.New(slog.DiscardHandler),
		Handle: func(ctx context.Context, in a2awire.Incoming) (a2awire.Outgoing, error) {
			if verdict == silent {
				<-ctx.Done()
				return a2awire.Outgoing{}, ctx.Err()
			}
			var about conclave.Assignment
			if err := json.Unmarshal(in.Data, &about); err != nil || about.Motion == nil {
				return a2awire.Outgoing{}, conclave.Errorf(conclave.ErrInvalid, "there is nothing to vote on: %v", err)
			}
			m := about.Motion
			b := conclave.Ballot{Motion: m.ID, Round: m.Round, Voter: v.name, Role: "voter", Subject: m.Subject, Verdict: verdict, Reasons: []string{"as it was told"}}
			if err := identity.SignBallot(key, &b); err != nil {
				return a2awire.Outgoing{}, err
			}
			data, err := json.Marshal(b)
			return a2awire.Outgoing{Text: string(verdict), Data: data}, err
		},
	})
	v.runner = runner
	// Who calls is not asked: it lives as long as a vote, on loopback.
	known := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(conclave.WithCaller(r.Context(), conclave.ServiceCaller(conclave.ServiceHub, conclave.DefaultTenant, "seed"))))
	})
	v.server = &http.Server{Handler: known, ReadHeaderTimeout: 10 * time.Second}
	go func() { v.served <- v.server.Serve(l) }()
	agent := conclave.Agent{Name: v.name, Role: "voter", Description: "Votes as it was told", Skills: []string{"vote"}, Brain: "none", URL: url,
		PublicKey: key.Public(), State: conclave.AgentLive, Capacity: 4}
	var registered conclave.Agent
	if err := s.post(ctx, hub+"/agents", map[string]any{"agent": agent}, &registered); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// ended is how a vote ended, as the database has it.
type ended struct {
	motion  conclave.Motion
	outcome conclave.Outcome // empty when it waits for a human
}

func (e ended) String() string {
	if e.outcome == "" {
		return string(e.motion.State)
	}
	return string(e.outcome)
}

// vote puts a question to voters with these verdicts, says nothing of threshold,
// deadline or escalation, and returns how the vote stands once it is not open any
// more, or after a while.
func (s *session) vote(ctx context.Context, within time.Duration, verdicts ...conclave.Verdict) (ended, error) {
	var end ended
	at, err := s.addresses()
	if err != nil {
		return end, err
	}
	var seats []string
	for _, verdict := range verdicts {
		v, err := s.voter(ctx, at[conclave.ServiceHub], verdict)
		if err != nil {
			return end, err
		}
		defer v.close()
		seats = append(seats, "agents/"+string(v.name))
	}
	hash, err := identity.Hash(seats)
	if err != nil {
		return end, err
	}
	question := conclave.Motion{Kind: conclave.MotionApprove, Title: "Is the setting heeded?", Subject: conclave.Subject{Kind: "question", ID: "setting", Hash: hash},
		Voters: seats, Rounds: 1, Rule: conclave.Rule{Name: "threshold", Quorum: len(seats)}}
	material, err := json.Marshal(conclave.Assignment{Task: question.Title, Kind: conclave.AssignVote})
	if err != nil {
		return end, err
	}
	var m conclave.Motion
	motion := map[string]any{"kind": question.Kind, "title": question.Title, "subject": question.Subject, "authors": []string{}, "voters": seats, "rounds": 1, "rule": question.Rule, "material": json.RawMessage(material)}
	if err := s.post(ctx, at[conclave.ServiceCouncil]+"/motions", map[string]any{"motion": motion}, &m); err != nil {
		return end, err
	}
	look := func() (bool, error) {
		docs, err := s.texts(ctx, `SELECT doc FROM motions WHERE id = $1`, string(m.ID))
		if err != nil || len(docs) != 1 {
			return false, fmt.Errorf("the motion %s is not kept: %w", m.ID, err)
		}
		if err := json.Unmarshal([]byte(docs[0]), &end.motion); err != nil {
			return false, err
		}
		return end.motion.State != conclave.MotionOpen, nil
	}
	if err := until(ctx, within, "the end of the vote", look); err != nil && end.motion.ID == "" {
		return end, err
	}
	docs, err := s.texts(ctx, `SELECT doc FROM decisions WHERE motion = $1`, string(m.ID))
	if err != nil || len(docs) == 0 {
		return end, err
	}
	var d conclave.Decision
	if err := json.Unmarshal([]byte(docs[0]), &d); err != nil {
		return end, err
	}
	end.outcome = d.Outcome
	return end, errors.Join(identity.VerifyDecision(d))
}
