DROP INDEX "push_tasks_by_age";--> statement-breakpoint
ALTER TABLE "push_tasks" ADD COLUMN "due_at" timestamptz DEFAULT now() + interval '5 seconds' NOT NULL;--> statement-breakpoint
CREATE INDEX "push_tasks_due" ON "push_tasks" USING btree ("due_at");