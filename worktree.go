package conclave

import (
	"context"
	"time"
)

// WorktreeState is where a lease stands.
type WorktreeState string

// States of a worktree.
const (
	WorktreeLeased   WorktreeState = "leased"
	WorktreeMerged   WorktreeState = "merged"
	WorktreeReleased WorktreeState = "released"
)

// Worktree is a git worktree that is leased to one step.
type Worktree struct {
	ID      LeaseID       `json:"id"`
	Run     RunID         `json:"run"`
	Step    string        `json:"step"` // plan step key
	Repo    string        `json:"repo"`
	Path    string        `json:"path"`
	Base    string        `json:"base"`   // commit it started from
	Head    string        `json:"head"`   // its newest commit; Base when there is none
	Writes  []string      `json:"writes"` // path globs that it may change
	State   WorktreeState `json:"state"`
	Created time.Time     `json:"created"`
}

// LeaseWorktree asks for a worktree on the newest commit of the run's branch.
type LeaseWorktree struct {
	Key    string   `json:"idempotency_key,omitempty"`
	Run    RunID    `json:"run"`
	Step   string   `json:"step"`
	Repo   string   `json:"repo"`
	Base   string   `json:"base" doc:"The commit that the run started from; its branch is made there when it does not exist yet"`
	Writes []string `json:"writes"`
}

// CommitWorktree commits what was changed in a worktree.
type CommitWorktree struct {
	Key     string    `json:"idempotency_key,omitempty"`
	ID      LeaseID   `json:"id"`
	Message string    `json:"message"`
	Author  AgentName `json:"author"`
}

// Commit is what a worktree's state became.
type Commit struct {
	Lease  LeaseID  `json:"lease"`
	Hash   string   `json:"hash"`
	Tree   string   `json:"tree"`
	Parent string   `json:"parent"`
	Files  []string `json:"files"` // changed since the lease's base
	Diff   string   `json:"diff"`  // since the lease's base, shortened past 200 kB
}

// MergeWorktree merges a worktree's head onto the run's branch.
type MergeWorktree struct {
	Key     string  `json:"idempotency_key,omitempty"`
	ID      LeaseID `json:"id"`
	Head    string  `json:"head" doc:"The commit that was approved; another one is refused"`
	Message string  `json:"message"`
	// Commands that the merged tree must pass before the branch moves; when
	// absent, what its files suggest.
	Build        []string `json:"build,omitempty"`
	Test         []string `json:"test,omitempty"`
	KnownFailing bool     `json:"known_failing,omitempty" doc:"The tests failed before the run: they are run, but do not stop the merge"`
}

// Merge is the outcome of a merge.
type Merge struct {
	Lease     LeaseID  `json:"lease"`
	Ref       string   `json:"ref"`
	Old       string   `json:"old"`
	New       string   `json:"new"`
	Tree      string   `json:"tree"`
	Checks    []Check  `json:"checks"`
	Conflicts []string `json:"conflicts,omitempty"` // paths; the branch did not move
	Merged    bool     `json:"merged"`
}

// NameWorktree names a lease.
type NameWorktree struct {
	Key string  `json:"idempotency_key,omitempty"`
	ID  LeaseID `json:"id"`
}

// ListWorktrees chooses leases.
type ListWorktrees struct {
	Run    RunID `json:"run,omitempty" doc:"Only the worktrees of this run"`
	Leased bool  `json:"leased,omitempty" doc:"Only those that are in use"`
}

// Deliver moves the user's own branch to a run's branch, after approval.
type Deliver struct {
	Key  string `json:"idempotency_key,omitempty"`
	Run  RunID  `json:"run"`
	Repo string `json:"repo"`
	Into string `json:"into" doc:"The user's branch"`
	Head string `json:"head" doc:"The approved head of the run's branch"`
}

// Worktrees leases isolated worktrees and merges them in order.
type Worktrees interface {
	// Lease makes a worktree. ErrConflict when an open lease of the run may write
	// the same paths; ErrNotFound when there is no such repository.
	Lease(ctx context.Context, in LeaseWorktree) (Worktree, error)
	// Commit commits the worktree's changes. ErrInvalid when there are none, or
	// when a changed path is outside the lease's write set.
	Commit(ctx context.Context, in CommitWorktree) (Commit, error)
	// Merge merges onto the run's branch, one at a time for each repository. A
	// conflict or a failed test is a Merge that did not happen, not an error.
	// ErrConflict when Head is not the lease's head.
	Merge(ctx context.Context, in MergeWorktree) (Merge, error)
	// Release removes a worktree; changes that were not merged are saved to
	// refs/conclave/salvage/LEASE first.
	Release(ctx context.Context, in NameWorktree) (Worktree, error)
	// Deliver moves the user's branch, fast-forward or by a merge. ErrConflict
	// when the branch can't take it, or when its checked-out tree is dirty.
	Deliver(ctx context.Context, in Deliver) (Merge, error)
	// List returns leases, newest first.
	List(ctx context.Context, in ListWorktrees) ([]Worktree, error)
}

// WorktreeOperations is the table of the git-worktree service.
func WorktreeOperations() []Operation {
	return []Operation{
		Op("worktree_lease", "POST /worktrees", PermitWork, Changes, Worktrees.Lease, "Leases an isolated git worktree with a write set."),
		Op("worktree_commit", "POST /worktrees/{id}/commit", PermitWork, Changes, Worktrees.Commit, "Commits what was changed in a leased worktree."),
		Op("worktree_merge", "POST /worktrees/{id}/merge", PermitService, Changes, Worktrees.Merge, "Merges a worktree onto its run's branch after the merged tree passed its tests."),
		Op("worktree_release", "POST /worktrees/{id}/release", PermitWork, Changes, Worktrees.Release, "Removes a worktree, saving what was not merged."),
		Op("branch_deliver", "POST /deliveries", PermitService, Changes, Worktrees.Deliver, "Moves the user's branch to the approved head of a run."),
		Op("worktree_list", "GET /worktrees", PermitRead, Reads, Worktrees.List, "Lists worktrees with the step that holds each.").AsTool(),
	}
}
