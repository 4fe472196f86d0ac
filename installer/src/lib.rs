//! Runs in the live system: facts, plan, engine, enrolment, system.
