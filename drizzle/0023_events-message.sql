ALTER TABLE "events" ADD COLUMN "message_id" uuid;--> statement-breakpoint
UPDATE "events" SET "message_id" = coalesce("payload"::json #>> '{data,message,id}', "payload"::json #>> '{data,messageId}')::uuid WHERE "type" NOT LIKE 'custom.%';--> statement-breakpoint
CREATE INDEX "events_by_message" ON "events" USING btree ("tenant_id","message_id") WHERE "events"."message_id" is not null;