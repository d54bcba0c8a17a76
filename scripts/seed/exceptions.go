package main

import "regexp"

// exception is a command that can't run where CI runs, with the check that is
// made instead.
type exception struct {
	of      *regexp.Regexp
	reason  string
	instead string
}

func exceptions() []exception {
	return []exception{
		{regexp.MustCompile(`^docker compose `), "needs Docker", validate("Compose")},
		{regexp.MustCompile(`^docker stats$`), "needs Docker", "bin/conclave status"},
		{regexp.MustCompile(`^docker stack deploy `), "needs Docker Swarm", validate("Stack")},
		{regexp.MustCompile(`^helm install `), "needs Kubernetes", validate("Chart")},
		{regexp.MustCompile(`^kubectl `), "needs Kubernetes", validate("Chart")},
		{regexp.MustCompile(`^git clone <your-fork>$`), "there is no fork", "git rev-parse --verify HEAD"}, // this is the clone
		{regexp.MustCompile(`^cd mcp-a2a-microservices$`), "every command runs there", "test \"$(basename \"$PWD\")\" = mcp-a2a-microservices"},
	}
}

// honestEnd is an end with a failure that is the right one here, known by what
// the command says.
type honestEnd struct {
	of        *regexp.Regexp
	says, why string
}

func honest() []honestEnd {
	return []honestEnd{
		{regexp.MustCompile(`^make workflow-(collaborative|multi-review) `), "needs_model", "said needs_model: no model is configured, and no playbook covers the task"},
		{regexp.MustCompile(`^make agent-simulate-collaboration `), "needs_model", "said needs_model: no model is configured, and no playbook covers the task"},
		{regexp.MustCompile(`^make agent-consensus `), "waits for a human", "said that it waits for a human: no model is configured, and a playbook can't judge the question"},
		{regexp.MustCompile(`redis`), "the bus is memory, not redis", "said that Redis is not in use"},
		{regexp.MustCompile(`kafka`), "the bus is memory, not kafka", "said that Kafka is not in use"},
	}
}

// validate runs the tests of deploy files whose names begin so; none at all is a
// failure.
func validate(tests string) string {
	return "go -C deploy/validate test -count=1 -v -run '^Test" + tests + "' . | grep '^--- PASS'"
}
