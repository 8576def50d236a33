"""Random plans over healthy functions, steered by what they cover; pure.

:mod:`~harness.fuzzing.recipe` is a plan as plain data, :mod:`~harness.fuzzing.verbs` says what each verb needs,
:mod:`~harness.fuzzing.generator` draws recipes, :mod:`~harness.fuzzing.coverage` counts what they cover,
:mod:`~harness.fuzzing.shrinking` makes one small that fails.
"""
