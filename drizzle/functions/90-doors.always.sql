-- Stands last, so that no door of any file is left with its maker's rights or open to everybody.
call hand_over_doors();
