"""What runs on the target: actors, kernel trace, kernel log, uevents, and the service that the host talks to.

:mod:`~harness.agent.worker` is the process, :mod:`~harness.agent.service` what it can be asked,
:mod:`~harness.agent.stage` how a plan is carried out.  Nothing here judges.
"""
