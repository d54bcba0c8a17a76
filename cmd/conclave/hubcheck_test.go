package main

import (
	"fmt"
	"slices"
)

// odd compares the logs.
func (p *traffic) odd() (list []string) {
	effects, _ := p.agent.effects()
	p.mu.Lock()
	defer p.mu.Unlock()
	list = slices.Clone(p.failed)
	times, place := map[string]int{}, map[string]int{}
	for i, text := range effects {
		times[text]++
		place[text] = i
		if _, ok := p.accepted[text]; !ok {
			list = append(list, fmt.Sprintf("%s had its effect and was never acknowledged", text))
		}
	}
	for text := range p.accepted {
		want := 1
		if text == droppedLetter {
			want = 0
		}
		if times[text] != want {
			list = append(list, fmt.Sprintf("%s was acknowledged, and had its effect %d times, want %d", text, times[text], want))
		}
	}
	for _, s := range senders {
		before := ""
		for i := range messagesEach {
			text := fmt.Sprint(s.name, "-", i)
			if before != "" && place[text] < place[before] {
				list = append(list, fmt.Sprintf("%s came after %s, and had its effect before it", text, before))
			}
			before = text
			if i%pushEvery == 0 {
				list = append(list, oddPushes(text, p.pushed[text])...)
			}
		}
	}
	return list
}

const completedState = "TASK_STATE_COMPLETED"

// oddPushes checks what a client was told of a message: each thing first after
// those before it, its end last. What was told may be told again.
func oddPushes(text string, told []string) (list []string) {
	artifact, end := slices.Index(told, "did "+text), slices.Index(told, completedState)
	switch {
	case end < 0 || told[len(told)-1] != completedState:
		list = append(list, fmt.Sprintf("of %s the client was not told the end last: %v", text, told))
	case artifact < 0 || artifact > end:
		list = append(list, fmt.Sprintf("of %s the client was told the end before what was made: %v", text, told))
	}
	for i, what := range told {
		if first := slices.Index(told, what); first == i && end >= 0 && i > end {
			list = append(list, fmt.Sprintf("of %s the client was told %s after the end", text, what))
		}
	}
	return list
}

// settled reports whether everything that is to come has come.
func (p *traffic) settled() error {
	effects, _ := p.agent.effects()
	p.mu.Lock()
	defer p.mu.Unlock()
	for text := range p.accepted {
		if text != droppedLetter && !slices.Contains(effects, text) {
			return fmt.Errorf("%s has had no effect", text)
		}
	}
	for _, s := range senders {
		for i := 0; i < messagesEach; i += pushEvery {
			text := fmt.Sprint(s.name, "-", i)
			if told := p.pushed[text]; len(told) == 0 || told[len(told)-1] != completedState {
				return fmt.Errorf("of %s the client was told %v", text, told)
			}
		}
	}
	return nil
}
