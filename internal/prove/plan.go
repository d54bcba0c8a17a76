package prove

import (
	"context"
	"errors"

	"conclave"
)

func planProofs() []proof {
	return []proof{
		{"plan_propose", "SQL: the plan's row; its hash, computed here", func(ctx context.Context, s *scene) error {
			p, err := s.propose(ctx, 0, s.content("first"))
			if err != nil {
				return err
			}
			var kept conclave.Plan
			if err := s.records.document(ctx, &kept, `SELECT doc FROM plans WHERE run = $1 AND id = $2`, s.name, string(p.ID)); err != nil {
				return err
			}
			hash, err := hashOf(s.content("first"))
			return errors.Join(err, same("the plan's hash", kept.Hash, hash))
		}},
		{"plan_comment", "SQL: the comment's row", func(ctx context.Context, s *scene) error {
			p, err := s.propose(ctx, 0, s.content("first"))
			if err != nil {
				return err
			}
			comment := conclave.Comment{Author: s.peer.name, Role: peerRole, Step: "first", Text: "remember " + s.name, Cites: "the rule of proof"}
			var after conclave.Plan
			if err := s.do(ctx, "plan_comment", conclave.CommentPlan{Key: s.name, ID: p.ID, Version: p.Version, Comments: []conclave.Comment{comment}}, &after); err != nil {
				return err
			}
			var kept conclave.Comment
			if err := s.records.document(ctx, &kept, `SELECT doc FROM comments WHERE plan = $1`, string(p.ID)); err != nil {
				return err
			}
			return same("the comment", kept.Text, comment.Text)
		}},
		{"plan_get", "what was proposed; SQL: the plan's row", func(ctx context.Context, s *scene) error {
			p, err := s.propose(ctx, 0, s.content("first"))
			if err != nil {
				return err
			}
			var got conclave.Plan
			if err := s.do(ctx, "plan_get", conclave.GetPlan{ID: p.ID}, &got); err != nil {
				return err
			}
			var kept conclave.Plan
			err = s.records.document(ctx, &kept, `SELECT doc FROM plans WHERE id = $1`, string(p.ID))
			return errors.Join(err, same("the summary", got.Summary, "Prove "+s.name), same("the plan's hash", got.Hash, kept.Hash))
		}},
		{"plan_list", "SQL: the ids of the run's plans", func(ctx context.Context, s *scene) error {
			if _, err := s.propose(ctx, 0, s.content("first")); err != nil {
				return err
			}
			var list []conclave.Plan
			if err := s.do(ctx, "plan_list", conclave.ListPlans{Run: conclave.RunID(s.name)}, &list); err != nil {
				return err
			}
			var ids []string
			for _, p := range list {
				ids = append(ids, string(p.ID))
			}
			kept, err := s.records.texts(ctx, `SELECT DISTINCT id FROM plans WHERE run = $1`, s.name)
			return errors.Join(err, same("the plans", ids, kept))
		}},
		{"plan_diff", "the two versions that were proposed", func(ctx context.Context, s *scene) error {
			first, err := s.propose(ctx, 0, s.content("first", "second"))
			if err != nil {
				return err
			}
			if _, err := s.propose(ctx, 1, s.content("first", "third")); err != nil {
				return err
			}
			var diff conclave.PlanDiff
			if err := s.do(ctx, "plan_diff", conclave.DiffPlan{ID: first.ID, From: 1, To: 2}, &diff); err != nil {
				return err
			}
			return errors.Join(same("what was added", diff.Added, []string{"third"}), same("what was removed", diff.Removed, []string{"second"}))
		}},
	}
}

// content is a plan with a step for each key.
func (s *scene) content(keys ...string) conclave.PlanContent {
	c := conclave.PlanContent{Task: "prove", Summary: "Prove " + s.name}
	for _, key := range keys {
		c.Steps = append(c.Steps, conclave.PlanStep{Key: key, Title: key, Description: "Writes a file", Acceptance: []string{"the file exists"}, Writes: []string{key + "/**"}})
	}
	return c
}

func (s *scene) propose(ctx context.Context, base int, c conclave.PlanContent) (conclave.Plan, error) {
	var p conclave.Plan
	return p, s.do(ctx, "plan_propose", conclave.ProposePlan{Run: conclave.RunID(s.name), Base: base, Author: s.peer.name, Content: c}, &p)
}
