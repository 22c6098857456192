DROP INDEX "moderation_queue_by_channel";--> statement-breakpoint
DROP INDEX "moderation_queue_by_user";--> statement-breakpoint
CREATE INDEX "moderation_queue_by_age" ON "moderation_queue" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "moderation_queue_by_channel" ON "moderation_queue" USING btree ("tenant_id","channel_id","created_at","id");--> statement-breakpoint
CREATE INDEX "moderation_queue_by_user" ON "moderation_queue" USING btree ("tenant_id","user_id","created_at","id");