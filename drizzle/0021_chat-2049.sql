CREATE TABLE "held_files" (
	"tenant_id" uuid NOT NULL,
	"file_id" uuid NOT NULL,
	"holder" text NOT NULL,
	CONSTRAINT "held_files_tenant_id_file_id_holder_pk" PRIMARY KEY("tenant_id","file_id","holder")
);
--> statement-breakpoint
ALTER TABLE "held_files" ADD CONSTRAINT "held_files_file_id_fk" FOREIGN KEY ("tenant_id","file_id") REFERENCES "public"."files"("tenant_id","id") ON DELETE cascade ON UPDATE no action;