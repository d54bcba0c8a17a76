// Command basic_workflow has a task planned, or with -build also built, over
// plain REST: it starts a run, waits for its end, and prints steps and result.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"conclave/examples/rest"
)

type run struct {
	Run   struct{ ID, Status, Reason, Branch string }
	Steps []struct{ Title, State string }
}

func main() {
	log.SetFlags(0)
	task := flag.String("task", "Create a REST API for books", "what to do")
	repo := flag.String("repo", ".", "a git repository with a commit")
	build := flag.Bool("build", false, "have the plan built too")
	flag.Parse()
	path, err := filepath.Abs(*repo)
	if err != nil {
		log.Fatal(err)
	}
	workflow := "consensus-planning"
	if *build {
		workflow = "collaborative"
	}

	// With "idempotency_key" in it, a request that is sent twice starts one run.
	var started struct{ ID string }
	must(rest.Call("POST", "/api/runs", map[string]string{"task": *task, "repo": path, "workflow": workflow}, &started))
	fmt.Println("started", started.ID)

	var r run
	for r.Run.Status == "" || r.Run.Status == "running" {
		must(rest.Call("GET", "/api/runs/"+started.ID+"?wait_ms=30000", nil, &r))
	}
	for _, s := range r.Steps {
		fmt.Printf("%-10s %s\n", s.State, s.Title)
	}
	fmt.Println(r.Run.Status+":", r.Run.Reason)
	if r.Run.Branch != "" {
		fmt.Println("branch", r.Run.Branch)
	}
	if r.Run.Status != "done" && r.Run.Status != "waiting" {
		os.Exit(1)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
