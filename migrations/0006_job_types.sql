-- The job types that a worker knows; `daemon/job_types.py` lists the same ones.
create function public.known_job_types() returns text[] language sql immutable as $$
    select array[
        'chat', 'enhance', 'generate',
        'sdxl_image_fast', 'sdxl_image_high',
        'wan_image_fast', 'wan_image_high',
        'video_fast', 'video_high',
        'image_fast', 'image_high',
        'image7b_fast_enhanced', 'image7b_high_enhanced',
        'video7b_fast_enhanced', 'video7b_high_enhanced',
        'wan_video_fast', 'wan_video_high'
    ]
$$;

-- Seconds of a device that a job takes on average, which is what users share fairly.
create function ourvidz.cost_of(p_job_type text) returns double precision
language sql immutable as $$
    select case
        when p_job_type in ('sdxl_image_fast') then 15
        when p_job_type in ('sdxl_image_high') then 30
        when p_job_type in ('wan_image_fast', 'image_fast', 'image7b_fast_enhanced') then 5
        when p_job_type in ('wan_image_high', 'image_high', 'image7b_high_enhanced') then 10
        when p_job_type in ('video_fast', 'video7b_fast_enhanced', 'wan_video_fast') then 60
        when p_job_type in ('video_high', 'video7b_high_enhanced', 'wan_video_high') then 120
        else 10
    end
$$;
